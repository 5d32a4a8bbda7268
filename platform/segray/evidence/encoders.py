"""Image encoders with one feature map: the nano trunk, or any of timm's. Knows no task."""

from typing import Any, assert_never

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segray.assets import TRUNK_NANO
from segray.config.evidence import NanoEncoderConfig, TimmEncoderConfig
from segray.errors import BackendError
from segray.nets import hub
from segray.nets.trunk import CHANNELS, Trunk
from segray.nets.weights import load_into, load_state

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """Normalised images (B, 3, S, S) -> one map (B, `channels`, h, w); `forward` is the kind's."""

    channels: int


class NanoFeatures(Encoder):
    """The trunk's features of strides 8 to 32, side by side at stride 8."""

    def __init__(self, *, load: bool) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.channels = sum(CHANNELS[1:])
        if load:
            load_into(self.trunk, load_state(str(TRUNK_NANO)), f"the shipped weights {TRUNK_NANO.name}")
        self.trunk.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, S / 8, S / 8)."""
        _, x8, x16, x32 = self.trunk.pyramid(images)
        return torch.cat([x8, _grown(x16, x8), _grown(x32, x8)], dim=1)


class TimmFeatures(Encoder):
    """A timm network's last two feature maps, side by side at the finer one's stride."""

    def __init__(self, config: TimmEncoderConfig, *, load: bool) -> None:
        super().__init__()
        what = f"timm encoder {config.name!r} with weights {config.weights!r}"
        with hub.loading(what, "give a name of `timm.list_models()`, and weights that you can access"):
            net: Any = timm.create_model(
                config.name, features_only=True, pretrained=load and config.weights == "hub", out_indices=(-2, -1)
            )
        self.net = net
        if load and config.weights not in (None, "hub"):
            self.net.load_state_dict(_of_net(load_state(str(config.weights)), self.net), strict=False)
        self.channels = sum(net.feature_info.channels())

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, h, w), at the stride of the last but one map."""
        fine, coarse = self.net(images)
        return torch.cat([fine, _grown(coarse, fine)], dim=1)


def build_encoder(config: NanoEncoderConfig | TimmEncoderConfig, *, load: bool) -> Encoder:
    """The encoder of a config; `load` False leaves out its pretrained weights, for others to be put in.

    Raises:
        BackendError: it, or its weights, cannot be loaded.
    """
    match config:
        case NanoEncoderConfig():
            return NanoFeatures(load=load)
        case TimmEncoderConfig():
            return TimmFeatures(config, load=load)
        case _:
            assert_never(config)


def normalised(images: Tensor) -> Tensor:
    """Pixels (B, S, S, 3) uint8 as what the encoders read (B, 3, S, S)."""
    mean, std = (torch.tensor(one, device=images.device)[:, None, None] for one in (IMAGENET_MEAN, IMAGENET_STD))
    return (images.permute(0, 3, 1, 2).float() / 255 - mean) / std


def _grown(coarse: Tensor, fine: Tensor) -> Tensor:
    return F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)


def _of_net(state: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The tensors that a network of features takes from a whole classifier's checkpoint.

    Raises:
        BackendError: they are of another architecture.
    """
    own = net.state_dict()
    named = {name: state.get(name, state.get(name.replace("_", ".", 1))) for name in own}
    lacking = [
        name
        for name, value in named.items()
        if (value is None or value.shape != own[name].shape) and not name.endswith("num_batches_tracked")
    ]
    if lacking:
        raise BackendError(f"the weights lack {len(lacking)} of the encoder's tensors ({', '.join(lacking[:3])}, ...)")
    return {name: value for name, value in named.items() if value is not None}
