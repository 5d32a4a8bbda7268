"""Batch norm exchanged for norms that do not look at the batch, so that a loss depends on no number of workers."""

from collections.abc import Callable

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

CHANNELS_PER_GROUP = 16
"""Wu and He 2018 (arXiv 1803.08494, table 3): as good as 32 groups, and defined for any width."""


def freeze(module: nn.Module) -> None:
    """Batch norms below `module` keep their statistics and affine parameters for good, as buffers."""

    def frozen(norm: nn.BatchNorm2d) -> nn.Module:
        fixed: nn.Module = FrozenBatchNorm2d(norm.num_features, norm.eps)
        fixed.load_state_dict(norm.state_dict())
        fixed.to(norm.weight.device)
        return fixed

    _exchange(module, frozen)


def group(module: nn.Module) -> None:
    """Batch norms below `module` become fresh group norms: what a trunk that starts from nothing can learn with."""
    _exchange(module, lambda norm: nn.GroupNorm(_groups(norm.num_features), norm.num_features))


def _groups(width: int) -> int:
    """The most groups of that many channels or more that are all of one size."""
    return next(number for number in range(max(1, width // CHANNELS_PER_GROUP), 0, -1) if width % number == 0)


def _exchange(module: nn.Module, by: Callable[[nn.BatchNorm2d], nn.Module]) -> None:
    with torch.no_grad():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                # timm's norms may hold what comes after them.
                after = [getattr(child, step) for step in ("drop", "act") if hasattr(child, step)]
                setattr(module, name, nn.Sequential(by(child), *after) if after else by(child))
            else:
                _exchange(child, by)
