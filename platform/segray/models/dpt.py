"""DPT (Ranftl et al. 2021, arXiv 2103.13413) over DINOv2 or DINOv3 as a student, with transformers' parts.

The neck is Depth Anything's, a DPT without a readout token, as in UniMatch V2 (docs/methods/unimatch.md#v2-network).
None of its norms depends on the batch.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import DepthAnythingConfig, Dinov2Config, DINOv3ViTConfig
from transformers.models.depth_anything.modeling_depth_anything import DepthAnythingNeck
from typing_extensions import override

from segray.config.students import Dpt, DptDinov3
from segray.models.backbones import build_net, local_hash
from segray.models.semantic import SemanticStudent
from segray.nets import dino

_SIZES: Final[dict[str, tuple[tuple[int, ...], tuple[int, ...], int]]] = {
    "tiny": ((1, 2, 3, 4), (16, 16, 32, 32), 16),
    "small": ((3, 6, 9, 12), (48, 96, 192, 384), 64),
    "base": ((3, 6, 9, 12), (96, 192, 384, 768), 128),
    "large": ((5, 12, 18, 24), (256, 512, 1024, 1024), 256),
}
"""Blocks whose output is read, counted from 1; channels per level; channels of the decoder."""


class DptStudent(SemanticStudent):
    """UniMatch V2's student, and the same over DINOv3."""

    def __init__(self, settings: Dpt | DptDinov3, classes: tuple[str, ...], *, load: bool) -> None:
        super().__init__(settings, classes)
        _, levels, channels = _SIZES[settings.size]
        self.encoder = _Dino(settings, load=load)
        self.neck: Any = DepthAnythingNeck(  # type: ignore[no-untyped-call]
            DepthAnythingConfig(
                backbone_config=_architecture(settings),
                reassemble_hidden_size=dino.WIDTHS[settings.size],
                neck_hidden_sizes=list(levels),
                fusion_hidden_size=channels,
            )
        )
        # Nothing comes before the first fusion: this would wait for a gradient.
        self.neck.fusion_stage.layers[0].residual_layer1 = nn.Identity()
        self.head = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True))
        self.classifier = nn.Conv2d(channels, len(classes), 1)

    @classmethod
    @override
    def pretrained_hash(cls, settings: Dpt | DptDinov3) -> str | None:
        return local_hash(settings.weights)

    @override
    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        rows, columns = features[0].shape[2:]
        maps = self.neck([_with_class_token(one) for one in features], rows, columns)
        logits: Tensor = self.classifier(self.head(maps[-1]))
        return logits


class _Dino(nn.Module):
    """Normed maps of four blocks, at the stride of the patches."""

    def __init__(self, settings: Dpt | DptDinov3, *, load: bool) -> None:
        super().__init__()
        version = _version(settings)
        name = f"{version} {settings.size}"
        self.net: Any = build_net(dino.CLASSES[version], _architecture(settings), settings, name, load=load)
        self.net.embeddings.mask_token = None

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net(images).feature_maps)


def _architecture(settings: Dpt | DptDinov3) -> Dinov2Config | DINOv3ViTConfig:
    return dino.architecture(_version(settings), settings.size, _SIZES[settings.size][0])


def _version(settings: Dpt | DptDinov3) -> dino.DinoVersion:
    return "dinov2" if isinstance(settings, Dpt) else "dinov3"


def _with_class_token(features: Tensor) -> Tensor:
    """(B, C, h, w) as the neck takes it: (B, 1 + h w, C), whose first token it drops."""
    tokens = features.flatten(2).transpose(1, 2)
    return torch.cat([torch.zeros_like(tokens[:, :1]), tokens], dim=1)
