"""The precision in which a student is trained. Knows no method."""

from contextlib import AbstractContextManager, nullcontext

import torch

from segray.config.schedule import Schedule


def autocast(schedule: Schedule, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of forward passes and losses; `auto` is bfloat16 on CUDA and float32 on CPUs."""
    half = schedule.precision == "bfloat16" or (schedule.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
