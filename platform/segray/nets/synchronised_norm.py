"""Trainable batch norm over the images of all workers, on CPUs and GPUs.

torch's SyncBatchNorm raises on CPUs. Statistics are sums over all workers, divided by the number of all their pixels,
so that workers with pieces of different sizes give what one worker with all images gives. Knows torch.distributed and
no method.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from typing_extensions import override

_PIXELS = (0, 2, 3)


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch norm that normalises by the statistics of all workers in training, and by the running ones in evaluation.

    All workers call it equally often in training, or they would wait for each other.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:  # the name that nn.BatchNorm2d gives it
        if not self.training or not _together():
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        found, mean, variance, number = _Normalise.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1).clamp(min=1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        normalised: Tensor = found
        return normalised


class _Normalise(torch.autograd.Function):
    """Normalise (B, C, H, W) over the pixels of all workers; returns also mean, variance and number of pixels."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        pixels = given.float()
        # Mean first, then the variance around it: a difference of large squares would round away.
        number = pixels.new_tensor([pixels.numel() // pixels.shape[1]])
        total = _summed(torch.cat([pixels.sum(_PIXELS), number]))
        mean, number = total[:-1] / total[-1], total[-1]
        variance = _summed((pixels - _wide(mean)).square().sum(_PIXELS)) / number
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(given, weight, mean, scale, number)
        normal = (pixels - _wide(mean)) * _wide(scale)
        ctx.mark_non_differentiable(mean, variance, number)
        return (normal * _wide(weight) + _wide(bias)).to(given.dtype), mean, variance, number

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        given, weight, mean, scale, number = ctx.saved_tensors
        slope, normal = gradient.float(), (given.float() - _wide(mean)) * _wide(scale)
        # The parameters' own gradients stay this worker's: DDP averages them with all others.
        of_weight, of_bias = (slope * normal).sum(_PIXELS), slope.sum(_PIXELS)
        along, constant = _summed(torch.stack([of_weight, of_bias])) / number
        found = (slope - _wide(constant) - normal * _wide(along)) * _wide(weight * scale)
        return found.to(given.dtype), of_weight, of_bias, None


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _summed(values: Tensor) -> Tensor:
    values = values.contiguous()
    dist.all_reduce(values)
    return values


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None]
