"""In what a student computes: bfloat16 where a schedule asks for it and the device is one that it asks it of."""

from contextlib import AbstractContextManager, nullcontext

import torch

from segray.config.schedule import Schedule


def autocast(schedule: Schedule, device: torch.device) -> AbstractContextManager[object]:
    """The context of forward passes and losses."""
    half = schedule.amp == "bfloat16-everywhere" or (schedule.amp == "bfloat16" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
