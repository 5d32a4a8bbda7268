"""DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611) as a student: segmentation-models-pytorch over timm.

An encoder with weights has its batch norm frozen; all other batch norms are group norms.
"""

from pathlib import Path
from typing import Any

import timm
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from torch import Tensor, nn
from typing_extensions import override

from segray.config.students import DeepLab
from segray.models.backbones import local_hash
from segray.models.semantic import SemanticStudent
from segray.nets import hub, norms

_STRIDE = 4
"""Of the finer map that the decoder reads; the other one is the encoder's last, dilated to stride 16."""


class DeepLabStudent(SemanticStudent):
    """UniMatch V1's student (docs/methods/unimatch.md#v1-network)."""

    def __init__(self, settings: DeepLab, classes: tuple[str, ...], *, load: bool) -> None:
        super().__init__(settings, classes)
        self.encoder = _Encoder(settings, load=load)
        fine, coarse = self.encoder.channels
        # The decoder takes a timm encoder's list of five maps and reads the third and the last.
        self.decoder = DeepLabV3PlusDecoder(
            encoder_channels=(0, 0, fine, 0, coarse),
            encoder_depth=5,
            out_channels=settings.width,
            atrous_rates=settings.atrous_rates,
            output_stride=16,
            aspp_separable=False,
            aspp_dropout=0.0,
        )
        norms.group(self.decoder)
        self.classifier = nn.Conv2d(settings.width, len(classes), 1)

    @classmethod
    @override
    def pretrained_hash(cls, settings: DeepLab) -> str | None:
        return local_hash(settings.weights)

    @override
    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        fine, coarse = features
        logits: Tensor = self.classifier(self.decoder([None, None, fine, None, coarse]))
        return logits


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
        norms.freeze(self.net) if settings.weights else norms.group(self.net)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.net(images)
        return maps[self.fine], maps[-1]


def _source(settings: DeepLab) -> dict[str, Any]:
    """Where timm takes an encoder's weights from: a file, or a repository of the hub."""
    weights = str(settings.weights)
    key = "file" if Path(weights).expanduser().is_file() else "hf_hub_id"
    return {"pretrained": True, "pretrained_cfg_overlay": {key: weights}}
