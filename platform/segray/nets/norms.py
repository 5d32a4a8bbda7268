"""What takes the place of batch norms: norms that do not look at the batch, or one that looks at the batch of all
workers, so that a loss depends on no number of workers.
"""

from collections.abc import Callable

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from segray.config.students import Norm
from segray.nets.synchronised_norm import SynchronisedBatchNorm

CHANNELS_PER_GROUP = 16
"""Wu and He 2018 (arXiv 1803.08494, table 3): as good as 32 groups, and defined for any width."""


def choose(module: nn.Module, norm: Norm, *, pretrained: bool) -> None:
    """Exchange the batch norms below `module` as a setting says; `pretrained` says whether their statistics count."""
    if norm == "synchronised":
        synchronise(module)
    elif pretrained:
        freeze(module)
    else:
        group(module)


def freeze(module: nn.Module) -> None:
    """Batch norms below `module` keep their statistics and affine parameters for good, as buffers."""

    def frozen(norm: nn.BatchNorm2d) -> nn.Module:
        return _like(norm, FrozenBatchNorm2d(norm.num_features, norm.eps))

    _exchange(module, frozen)


def synchronise(module: nn.Module) -> None:
    """Batch norms below `module` learn on, from the statistics of the images of all workers."""

    def synchronised(norm: nn.BatchNorm2d) -> nn.Module:
        return _like(norm, SynchronisedBatchNorm(norm.num_features, norm.eps, norm.momentum))

    _exchange(module, synchronised)


def group(module: nn.Module) -> None:
    """Batch norms below `module` become fresh group norms: what a trunk that starts from nothing can learn with."""
    _exchange(module, lambda norm: nn.GroupNorm(_groups(norm.num_features), norm.num_features))


def look_at_batch(module: nn.Module) -> bool:
    """Return whether what `module` says of an image depends on the other images of a forward pass in training."""
    return any(isinstance(one, SynchronisedBatchNorm) for one in module.modules())


def _like(norm: nn.BatchNorm2d, other: nn.Module) -> nn.Module:
    """Give `other` the state of a batch norm."""
    other.load_state_dict(norm.state_dict())
    return other.to(norm.weight.device)


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
