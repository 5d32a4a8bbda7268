"""A small training in one process that goes on where it was stopped. Knows steps and weights; knows no task.

For networks that come with labels (a classifier of tags, a nano CLIP), not for students: those have `segray.training`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """What decides the weights, beside the steps' losses."""

    steps: int
    learning_rate: float
    weight_decay: float = 0.02
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises; it falls to 0 as a cosine after."""
    clip_norm: float = 1.0


def fit(
    module: nn.Module,
    loss: Callable[[int], Tensor],
    plan: FitPlan,
    checkpoint: Path,
    *,
    save_seconds: float = 60.0,
    log_every: int = 50,
) -> None:
    """Train the module by `loss(step)`, whose randomness depends only on the step; call again to resume.

    The checkpoint holds weights, optimizer and step, and stays when done: a further call has nothing to do.
    """
    decayed = [weight for weight in module.parameters() if weight.ndim > 1]
    plain = [weight for weight in module.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate)
    start = _resume(module, optimizer, checkpoint)
    module.train()
    saved, began, total = time.monotonic(), time.monotonic(), 0.0
    for step in range(start, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * _factor(step, plan)
        optimizer.zero_grad(set_to_none=True)
        value = loss(step)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), plan.clip_norm)
        optimizer.step()
        total += float(value.detach())
        if (step + 1) % log_every == 0:
            seconds = (time.monotonic() - began) / (step + 1 - start)
            _log.info("step %d of %d: loss %.4f, %.3f s a step", step + 1, plan.steps, total / log_every, seconds)
            total = 0.0
        if time.monotonic() - saved > save_seconds or step + 1 == plan.steps:
            _save(module, optimizer, step + 1, checkpoint)
            saved = time.monotonic()
    module.eval()


def _factor(step: int, plan: FitPlan) -> float:
    warm = max(1, round(plan.warmup * plan.steps))
    if step < warm:
        return (step + 1) / warm
    return float(0.5 * (1 + torch.cos(torch.tensor(torch.pi * (step - warm) / max(1, plan.steps - warm)))))


def _save(module: nn.Module, optimizer: torch.optim.Optimizer, step: int, path: Path) -> None:
    """So that a reader finds the old one or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({"step": step, "module": module.state_dict(), "optimizer": optimizer.state_dict()}, partial)
    partial.replace(path)


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    _log.info("going on from step %d", state["step"])
    return int(state["step"])
