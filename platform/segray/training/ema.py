"""Teachers that follow their student: copies and moving averages of all parameters and buffers.

The rules are in docs/methods/guided-distillation.md#burn-in and docs/methods/unimatch.md#ema-teacher.
"""

import torch
from torch import nn

from segray.config.schedule import Ema
from segray.training.objective import RunPosition


def decay(half_life: float) -> float:
    """The share of the teacher that a step keeps when half of it is new after `half_life` steps."""
    return float(0.5 ** (1 / half_life))


def burn_in_steps(settings: Ema, steps: int) -> int:
    """Steps in which the teacher stays as it came."""
    return round(settings.burn_in * steps)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, settings: Ema, at: RunPosition) -> None:
    """Move the teacher between two updates: nothing in burn-in, the student itself at its end, its average after."""
    last = burn_in_steps(settings, at.steps)
    if at.step < last:
        return
    ema_step(teacher, student, keep=0.0 if at.step == last else decay(settings.half_life))


@torch.no_grad()
def ema_step(teacher: nn.Module, student: nn.Module, keep: float) -> None:
    """teacher = keep * teacher + (1 - keep) * student, parameters and float buffers; other buffers are copied."""
    ours, theirs = teacher.state_dict(), student.state_dict()
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    if keep:
        torch._foreach_lerp_([ours[name] for name in floats], [theirs[name] for name in floats], 1 - keep)
    for name in ours.keys() if not keep else ours.keys() - set(floats):
        ours[name].copy_(theirs[name])


@torch.no_grad()
def weight_distance(teacher: nn.Module, student: nn.Module) -> float:
    """How far apart the parameters are: the L2 norm of the difference over that of the student."""
    pairs = list(zip(teacher.parameters(), student.parameters(), strict=True))
    apart = sum(float((one - other).square().sum()) for one, other in pairs)
    return float((apart / max(sum(float(other.square().sum()) for _, other in pairs), 1e-12)) ** 0.5)


def freeze_weights(module: nn.Module) -> nn.Module:
    """In eval mode and without gradients."""
    return module.eval().requires_grad_(False)
