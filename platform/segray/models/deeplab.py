"""DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611) as a student over timm, with UniMatch V1's decoder.

The pyramid pooling is segmentation-models-pytorch's; two full 3 x 3 convolutions follow it, where that package has
separable ones.
"""

from pathlib import Path
from typing import Any

import timm
import torch
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from segray.config.students import DeepLab
from segray.models.backbones import local_hash
from segray.models.semantic import SemanticStudent
from segray.nets import hub, norms

_STRIDE = 4
"""Of the finer map that the decoder reads; the other one is the encoder's last, dilated to stride 16."""
_REDUCED = 48
"""Channels that are left of the finer map."""


class DeepLabStudent(SemanticStudent):
    """UniMatch V1's student (docs/methods/unimatch.md#v1-network)."""

    def __init__(self, settings: DeepLab, classes: tuple[str, ...], *, load: bool) -> None:
        super().__init__(settings, classes)
        self.encoder = _Encoder(settings, load=load)
        self.decoder = _Decoder(settings, *self.encoder.channels)
        norms.choose(self.decoder, settings.norm, pretrained=False)
        self.classifier = nn.Conv2d(settings.width, len(classes), 1)

    @classmethod
    @override
    def pretrained_hash(cls, settings: DeepLab) -> str | None:
        return local_hash(settings.weights)

    @override
    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        logits: Tensor = self.classifier(self.decoder(*features))
        return logits


class _Decoder(nn.Module):
    """Pyramid pooling at stride 16, fused with the map at stride 4."""

    def __init__(self, settings: DeepLab, fine: int, coarse: int) -> None:
        super().__init__()
        width = settings.width
        self.pooling: Any = ASPP(coarse, width, settings.atrous_rates, separable=False, dropout=0.0)
        self.reduce = _block(fine, _REDUCED, 1)
        self.fuse = nn.Sequential(_block(width + _REDUCED, width, 3), _block(width, width, 3))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        pooled = F.interpolate(self.pooling(coarse), size=fine.shape[2:], mode="bilinear", align_corners=True)
        found: Tensor = self.fuse(torch.cat([self.reduce(fine), pooled], dim=1))
        return found


def _block(channels: int, width: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class _Encoder(nn.Module):
    """A timm network's maps at strides 4 and 16, the latter its last."""

    def __init__(self, settings: DeepLab, *, load: bool) -> None:
        super().__init__()
        source = _source(settings) if load and settings.weights else {}
        what = f"student.encoder {settings.encoder!r} with weights {settings.weights!r}"
        remedy = (
            "give timm's name of a convolutional network that can be dilated to stride 16, and weights that were made"
            " for it, or none"
        )
        with hub.loading(what, remedy):
            self.net: Any = timm.create_model(settings.encoder, features_only=True, output_stride=16, **source)
        about: Any = self.net.feature_info
        self.fine = about.reduction().index(_STRIDE)
        self.channels = (about.channels()[self.fine], about.channels()[-1])
        norms.choose(self.net, settings.norm, pretrained=bool(settings.weights))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.net(images)
        return maps[self.fine], maps[-1]


def _source(settings: DeepLab) -> dict[str, Any]:
    """Where timm takes an encoder's weights from: a file, or a repository of the hub."""
    weights = str(settings.weights)
    key = "file" if Path(weights).expanduser().is_file() else "hf_hub_id"
    return {"pretrained": True, "pretrained_cfg_overlay": {key: weights}}
