"""A feature pyramid as a semantic student: maps of all strides are summed at stride 4 (Kirillov et al. 2019,
arXiv 1901.02446, the semantic branch with one convolution per level).
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from segray.config.students import Fpn
from segray.models.backbones import Backbone, backbone_hash, build_backbone
from segray.models.semantic import SemanticStudent
from segray.nets import norms


class FpnStudent(SemanticStudent):
    """Any backbone of the instance students, with a small decoder."""

    encoder: Backbone

    def __init__(self, settings: Fpn, classes: tuple[str, ...], *, load: bool) -> None:
        super().__init__(settings, classes)
        self.encoder = build_backbone(settings.backbone, load=load)
        width = settings.width
        self.lateral = nn.ModuleList(_block(channels, width, 1) for channels in self.encoder.channels)
        self.smooth = nn.Sequential(_block(width, width, 3), _block(width, width, 3))
        norms.group(self.lateral)
        norms.group(self.smooth)
        self.classifier = nn.Conv2d(width, len(classes), 1)

    @classmethod
    @override
    def pretrained_hash(cls, settings: Fpn) -> str | None:
        return backbone_hash(settings.backbone)

    @override
    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        return self.encoder.pretrained_parameters()

    @override
    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        maps = [lateral(one) for lateral, one in zip(self.lateral, features, strict=True)]
        fused = maps[-1]
        for finer in maps[-2::-1]:
            fused = finer + F.interpolate(fused, size=finer.shape[2:], mode="bilinear")
        logits: Tensor = self.classifier(self.smooth(fused))
        return logits


def _block(channels: int, width: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
