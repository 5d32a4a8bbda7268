"""Backbones: normalised images to features at strides 4, 8, 16 and 32, the nano trunk's or one of transformers.

Knows where their weights come from. A backbone with weights has its batch norm frozen, one without has group norm,
unless its config asks for synchronised batch norm.
Knows nothing of what reads the features.
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig
from typing_extensions import override

from segray.assets import TRUNK_NANO
from segray.config.students import DinoBackbone, HfBackbone, NanoBackbone
from segray.nets import dino, hub, norms
from segray.nets.trunk import CHANNELS, Trunk
from segray.nets.weights import hash_files, hash_state, load_into, load_state

BackboneConfig: TypeAlias = NanoBackbone | HfBackbone | DinoBackbone
STRIDES: Final = (4, 8, 16, 32)
_DINO_CHANNELS: Final = (128, 256, 512, 1024)
"""Widths of GuidedDistillation's projections."""
_STAGES: Final[dict[str, Any]] = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}


def _resnet(**settings: Any) -> Any:
    return ResNetConfig(**settings, **_STAGES)


def _swin(width: int, depth: int, window: int) -> Any:
    heads = [width // 32 * 2**stage for stage in range(4)]
    # Stochastic depth would draw from the global generator; everything random here is keyed.
    return SwinConfig(
        embed_dim=width, depths=[2, 2, depth, 2], num_heads=heads, window_size=window, drop_path_rate=0.0, **_STAGES
    )


_HF: Final[dict[str, tuple[Any, Any]]] = {
    "resnet-18": (
        ResNetBackbone,
        _resnet(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2]),
    ),
    "resnet-50": (ResNetBackbone, _resnet()),
    "resnet-101": (ResNetBackbone, _resnet(depths=[3, 4, 23, 3])),
    "swin-tiny": (SwinBackbone, _swin(96, 6, 7)),
    "swin-small": (SwinBackbone, _swin(96, 18, 7)),
    "swin-base": (SwinBackbone, _swin(128, 18, 12)),
    "swin-large": (SwinBackbone, _swin(192, 18, 12)),
}
"""Class and architecture of what is downloadable under these names (the larger Swins are those made for 384 px)."""


class Backbone(nn.Module):
    """Normalised images (B, 3, H, W), sides multiples of 32 -> four feature maps, finest first."""

    channels: tuple[int, ...]
    """Of each map."""

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that pretrained weights are for; the others are fresh."""
        yield from self.parameters()


class _Nano(Backbone):
    def __init__(self, config: NanoBackbone, *, load: bool) -> None:
        super().__init__()
        self.channels = CHANNELS
        self.trunk = Trunk()
        if load and config.pretrained:
            load_into(self.trunk, load_state(str(TRUNK_NANO)), f"the shipped weights {TRUNK_NANO.name}")
        norms.freeze(self.trunk) if config.pretrained else norms.group(self.trunk)
        self.trunk.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.trunk.pyramid(images)


class _Hf(Backbone):
    def __init__(self, config: HfBackbone, *, load: bool) -> None:
        super().__init__()
        kind, architecture = _HF[config.architecture]
        self.net: Any = build_net(kind, architecture, config, config.architecture, load=load)
        self.channels = tuple(self.net.channels)
        if kind is SwinBackbone:
            # A classifier's last norm, whose output no feature map holds: DDP would wait for its gradient.
            self.net.swin.layernorm = nn.Identity()
        norms.choose(self.net, config.norm, pretrained=bool(config.weights))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net(images).feature_maps)


class _Dino(Backbone):
    """The normed map of the last block, resized to each stride by nearest neighbour and projected."""

    def __init__(self, config: DinoBackbone, *, load: bool) -> None:
        super().__init__()
        kind, settings = dino.CLASSES[config.version], dino.architecture(config.version, config.size, [_last(config)])
        self.net: Any = build_net(kind, settings, config, f"{config.version} {config.size}", load=load)
        self.net.embeddings.mask_token = None
        self.channels = _DINO_CHANNELS
        self.patch = dino.PATCHES[config.version]
        width = dino.WIDTHS[config.size]
        self.projections = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in self.channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[2:]
        whole = [-(-side // self.patch) * self.patch for side in (height, width)]
        shown = images if whole == [height, width] else F.interpolate(images, whole, mode="bilinear")
        (features,) = self.net(shown).feature_maps
        return tuple(
            projection(F.interpolate(features, (height // stride, width // stride), mode="nearest"))
            for projection, stride in zip(self.projections, STRIDES, strict=True)
        )

    @override
    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.net.parameters()


def build_backbone(config: BackboneConfig, *, load: bool) -> Backbone:
    """The backbone of a config; `load` False leaves out its pretrained weights, for others to be put in.

    Raises:
        BackendError: the weights cannot be loaded, or were made for another architecture.
    """
    match config:
        case NanoBackbone():
            return _Nano(config, load=load)
        case DinoBackbone():
            return _Dino(config, load=load)
    return _Hf(config, load=load)


def _last(config: DinoBackbone) -> int:
    return dino.BLOCKS[config.size]


def backbone_hash(config: BackboneConfig) -> str | None:
    """Return the hash of the weights that `build_backbone` loads from files; None where it loads none."""
    if isinstance(config, NanoBackbone):
        return hash_state(load_state(str(TRUNK_NANO))) if config.pretrained else None
    return local_hash(config.weights)


def local_hash(weights: str | None) -> str | None:
    """Return the hash of a local file or folder of weights; None for a Hub id and for no weights."""
    return hash_files(Path(weights).expanduser()) if weights else None


class _Pretrained(Protocol):
    """Settings that name weights."""

    @property
    def weights(self) -> str | None:
        """Local folder or Hub id; none: random."""

    @property
    def revision(self) -> str | None:
        """Commit or tag of a Hub model."""


def build_net(kind: Any, architecture: Any, settings: _Pretrained, name: str, *, load: bool) -> Any:
    """Return the transformers class `kind` of an architecture called `name`, with its pretrained weights if `load`.

    Raises:
        BackendError: they cannot be loaded, or were made for another architecture.
    """
    if not load or not settings.weights:
        return kind(architecture)
    return hub.load_model(
        kind,
        settings.weights,
        what=f"backbone weights {settings.weights!r} as a {name}",
        remedy="give a local folder or Hub id of a transformers model of that architecture, or leave out `weights` to"
        " start from random ones",
        # A backbone norms each stage's output for itself; a classifier, which these weights come from, only the last.
        derived="hidden_states_norms",
        config=deepcopy(architecture),
        revision=settings.revision or "main",
    )
