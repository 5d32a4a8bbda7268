"""AdamW or SGD with the papers' parameter groups, and the learning rate at each step.

Constants are in docs/methods/mask2former.md#optimizer and docs/methods/mask2former.md#schedule.
"""

import torch
from torch import nn

from segray.config.schedule import Schedule, SgdSchedule
from segray.models.student import Student

POLY_POWER = 0.9
STEP_DROPS = (327_778 / 368_750, 355_092 / 368_750)
"""Shares of the run after which the rate falls to a tenth (COCO)."""
_SWIN_POSITIONS = "relative_position_bias_table"
"""Name of Swin's position embeddings, which are no module of their own."""
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def build_optimizer(student: Student, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW, or SGD where the schedule gives a momentum, over what of the student is trained.

    Each group's `factor` is its share of the learning rate.
    """
    backbone = {id(parameter) for parameter in student.backbone_parameters()}
    spared = _not_decayed(student, schedule)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in student.parameters():
        if parameter.requires_grad:
            factor = schedule.backbone_factor if id(parameter) in backbone else 1.0
            decay = 0.0 if id(parameter) in spared else schedule.weight_decay
            groups.setdefault((factor, decay), []).append(parameter)
    given = [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (factor, decay), parameters in groups.items()
    ]
    if isinstance(schedule, SgdSchedule):
        return torch.optim.SGD(given, lr=schedule.learning_rate, momentum=schedule.momentum)
    return torch.optim.AdamW(given, lr=schedule.learning_rate)


def set_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> float:
    """Set every group's rate for the update after `step` updates; returns the whole rate."""
    rate = schedule.learning_rate * rate_factor(schedule, step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def rate_factor(schedule: Schedule, step: int) -> float:
    """The rate of the update after `step` updates, as a share of the peak."""
    done = step / schedule.steps
    warm = min(1.0, (step + 1) / max(schedule.warmup * schedule.steps, 1))
    match schedule.decay:
        case "poly":
            return float(warm * (1 - done) ** POLY_POWER)
        case "step":
            return float(warm * 0.1 ** sum(done >= drop for drop in STEP_DROPS))
        case "constant":
            return float(warm)


def _not_decayed(student: nn.Module, schedule: Schedule) -> set[int]:
    """Return the parameters without weight decay, by identity."""
    if schedule.decayed == "all":
        return set()
    found = set()
    for module in student.modules():
        for name, parameter in module.named_parameters(recurse=False):
            spared = isinstance(module, (*_NORMS, nn.Embedding)) or name == _SWIN_POSITIONS
            if spared or (schedule.decayed == "matrices" and (name == "bias" or parameter.ndim <= 1)):
                found.add(id(parameter))
    return found
