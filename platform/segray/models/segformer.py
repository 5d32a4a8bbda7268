"""SegFormer (Xie et al. 2021, arXiv 2105.15203) as a student: transformers' encoder and decoder.

Dropout and stochastic depth are off: they would draw from the global generator, and everything random here is keyed.
"""

from typing import Any, Final

from torch import Tensor, nn
from transformers import SegformerConfig, SegformerModel
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead
from typing_extensions import override

from segray.config.students import SegFormer
from segray.models.backbones import build_net, local_hash
from segray.models.semantic import SemanticStudent
from segray.nets import norms

_WIDE: Final = (64, 128, 320, 512)
_SIZES: Final[dict[str, tuple[tuple[int, ...], tuple[int, ...], int]]] = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": (_WIDE, (2, 2, 2, 2), 256),
    "b2": (_WIDE, (3, 4, 6, 3), 768),
    "b3": (_WIDE, (3, 4, 18, 3), 768),
    "b4": (_WIDE, (3, 8, 27, 3), 768),
    "b5": (_WIDE, (3, 6, 40, 3), 768),
}
"""Widths and depths of the stages, channels of the decoder."""


class SegFormerStudent(SemanticStudent):
    """Four stages at strides 4 to 32, a decoder of linear layers."""

    def __init__(self, settings: SegFormer, classes: tuple[str, ...], *, load: bool) -> None:
        super().__init__(settings, classes)
        architecture = _architecture(settings)
        self.encoder = _Encoder(settings, load=load)
        self.decoder = SegformerDecodeHead(architecture)  # type: ignore[no-untyped-call]
        norms.group(self.decoder)
        self.decoder.classifier = nn.Identity()  # type: ignore[assignment]
        self.classifier = nn.Conv2d(architecture.decoder_hidden_size, len(classes), 1)

    @classmethod
    @override
    def pretrained_hash(cls, settings: SegFormer) -> str | None:
        return local_hash(settings.weights)

    @override
    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        logits: Tensor = self.classifier(self.decoder(features))
        return logits


class _Encoder(nn.Module):
    """Its four maps, finest first."""

    def __init__(self, settings: SegFormer, *, load: bool) -> None:
        super().__init__()
        architecture = _architecture(settings)
        self.net: Any = build_net(SegformerModel, architecture, settings, f"SegFormer {settings.size}", load=load)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net(images, output_hidden_states=True).hidden_states)


def _architecture(settings: SegFormer) -> SegformerConfig:
    widths, depths, decoder = _SIZES[settings.size]
    return SegformerConfig(
        hidden_sizes=list(widths),
        depths=list(depths),
        decoder_hidden_size=decoder,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
