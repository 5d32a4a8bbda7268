"""Trains sam-nano on family A: `python -m tools.nano.train_sam --out DIR`.

Knows the optimizer, the schedule, checkpoints and the log. The same command goes on from the last checkpoint, in as
many sittings as one likes: the learning rate is constant until the last `--cooldown` steps before `--steps`, and a
later sitting may move both. Writes into DIR the cache of scenes, last.pt (checkpoint), log.jsonl and, at every
evaluation, sam-nano.safetensors (exponential moving average of the weights, fp16).
"""

from __future__ import annotations

import copy
import ctypes
import json
import logging
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch import Tensor, nn

from segray.sam.backends.segment_anything.nano import EMBED_DIM, IMAGE_SIZE, build_sam_nano
from tools.nano.sam_data import build_cache, draw_batch
from tools.nano.sam_evaluation import held_out, mean_ious
from tools.nano.sam_step import GroupingHead, step_losses

log = logging.getLogger(__name__)

WARMUP_STEPS: Final = 100
EMA_DECAY: Final = 0.998
CLIP_NORM: Final = 1.0
NUM_SHARDS: Final = 2
"""A step's images are split over this many threads, each with a copy of the net.

One meeting per step instead of one per operator: on cores shared with others that is up to twice as fast. It decides
the weights (batch norm), so it is fixed.
"""


@dataclass(frozen=True, kw_only=True)
class SamPlan:
    """Everything that decides the trained weights."""

    steps: int
    cooldown: int = 0
    num_scenes: int = 4000
    images_per_step: int = 16
    prompts_per_image: int = 3
    second_round: int = 1
    learning_rate: float = 4e-4
    weight_decay: float = 0.02
    seed: int = 0
    bf16: bool = True


@dataclass(frozen=True, kw_only=True)
class SamIntervals:
    """How often what is done beside training, and with what; decides nothing about the weights."""

    cache_workers: int = 2
    checkpoint_seconds: float = 120.0
    evaluate_seconds: float = 600.0
    evaluate_scenes: int = 60
    log_every: int = 20


class TrainingNet(nn.Module):
    """The nano SAM with the head that only training needs."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam
        self.grouping = GroupingHead(EMBED_DIM)


def _gradient(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


class Trainer:
    """Model, its moving average, optimizer and step; `save` and `resume` carry all of it."""

    def __init__(self, plan: SamPlan, out: Path) -> None:
        torch.set_num_threads(1)  # each shard has its own thread already
        cv2.setNumThreads(1)
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.out = out
        self.step = 0
        self.sam: Sam = build_sam_nano()
        self.average: Sam = build_sam_nano()
        self.average.load_state_dict(self.sam.state_dict())
        self.net = TrainingNet(self.sam)
        self.copies = [copy.deepcopy(self.net) for _ in range(NUM_SHARDS)]
        self.pool = ThreadPoolExecutor(NUM_SHARDS)
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        plain = [p for p in self.net.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98))

    def rate(self) -> float:
        """Learning rate of the next step: warm-up, constant, linear to zero over the last `cooldown` steps."""
        warm = min(1.0, (self.step + 1) / WARMUP_STEPS)
        left = (self.plan.steps - self.step) / max(self.plan.cooldown, 1)
        return self.plan.learning_rate * warm * min(1.0, left)

    def advance(self, cache: NDArray[np.uint8]) -> dict[str, float]:
        """One step over all shards; its mean losses and figures."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        figures = list(self.pool.map(self._run_shard, [cache] * NUM_SHARDS, range(NUM_SHARDS)))
        self._gather()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.step += 1
        self._follow()
        return {**{name: float(np.mean([row[name] for row in figures])) for name in figures[0]}, "grad": float(norm)}

    def _run_shard(self, cache: NDArray[np.uint8], shard: int) -> dict[str, float]:
        """Forward and backward of one shard's images on its own copy of the net."""
        plan, net = self.plan, self.copies[shard]
        key = [plan.seed, self.step, shard]
        batch = draw_batch(cache, key, plan.images_per_step // NUM_SHARDS, plan.prompts_per_image)
        with torch.no_grad():
            torch._foreach_copy_(list(net.state_dict().values()), list(self.net.state_dict().values()))
        net.train()
        net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.bf16):
            losses = step_losses(net.sam, net.grouping, batch, np.random.default_rng([*key, 1]), plan.second_round)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        return {name: float(value.detach()) for name, value in losses.items()}

    @torch.no_grad()
    def _gather(self) -> None:
        """Mean gradients of the shards, and mean running statistics, onto the net."""
        for weight, *others in zip(self.net.parameters(), *(net.parameters() for net in self.copies), strict=True):
            weight.grad = torch.stack([_gradient(other) for other in others]).mean(0)
        for buffer, *others in zip(self.net.buffers(), *(net.buffers() for net in self.copies), strict=True):
            if buffer.is_floating_point():
                buffer.copy_(torch.stack(others).mean(0))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average, running statistics included, a little toward the weights."""
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.state_dict().values(), self.sam.state_dict().values(), strict=True)
        floats = [(old, new) for old, new in pairs if old.is_floating_point()]
        torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - decay)

    def save(self) -> None:
        """Write the checkpoint so that a reader finds the old one or the new one, never half of one."""
        state = {
            "step": self.step, "net": self.net.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        partial = self.out / "last.pt.partial"
        torch.save(state, partial)
        partial.replace(self.out / "last.pt")

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one."""
        path = self.out / "last.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        return True

    def export(self, path: Path) -> None:
        """The averaged weights as fp16 safetensors."""
        tensors = {name: value for name, value in self.average.state_dict().items() if value.is_floating_point()}
        half: dict[str, Tensor] = {name: value.half().contiguous() for name, value in tensors.items()}
        partial = path.with_suffix(".partial")
        save_file(half, partial, metadata={"model": "sam-nano", "step": str(self.step)})
        partial.replace(path)


def train(plan: SamPlan, out: Path, intervals: SamIntervals) -> Trainer:
    """Train to `plan.steps`, from the last checkpoint in `out` if there is one; SIGTERM saves and stops."""
    out.mkdir(parents=True, exist_ok=True)
    cache_path = out / f"scenes-{plan.num_scenes}.npy"
    build_cache(cache_path, plan.num_scenes, IMAGE_SIZE, intervals.cache_workers, "busy")
    cache = np.load(cache_path, mmap_mode="r")
    trainer = Trainer(plan, out)
    if trainer.resume():
        log.info("going on from step %d", trainer.step)
    asked_to_stop: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_stop.append(number))
    saved = evaluated = time.monotonic()
    recent: list[dict[str, float]] = []
    try:
        while trainer.step < plan.steps and not asked_to_stop:
            began = time.monotonic()
            recent.append({**trainer.advance(cache), "seconds": time.monotonic() - began})
            if trainer.step % intervals.log_every == 0:
                _write_log(trainer, {name: float(np.mean([row[name] for row in recent])) for name in recent[0]})
                recent.clear()
            if time.monotonic() - saved > intervals.checkpoint_seconds:
                trainer.save()
                saved = time.monotonic()
            if time.monotonic() - evaluated > intervals.evaluate_seconds:
                _evaluate(trainer, intervals)
                evaluated = time.monotonic()
    finally:
        signal.signal(signal.SIGTERM, before)
    trainer.save()
    if not asked_to_stop:
        _evaluate(trainer, intervals)
    return trainer


def _evaluate(trainer: Trainer, intervals: SamIntervals) -> None:
    """Export, and log mean IoU from one and three points on held-out scenes of both families."""
    trainer.export(trainer.out / "sam-nano.safetensors")
    if intervals.evaluate_scenes == 0:
        return
    scores: dict[str, float] = {}
    for family in ("a", "b"):
        scenes = list(held_out(family, intervals.evaluate_scenes))
        means = mean_ious(trainer.average, scenes, (1, 3), seed=0)
        scores |= {
            f"{family}_best@1": means[0, 0],
            f"{family}_single@1": means[0, 1],
            f"{family}_single@3": means[1, 1],
        }
    _write_log(trainer, scores)


def _write_log(trainer: Trainer, figures: dict[str, float]) -> None:
    row = {"time": round(time.time()), "step": trainer.step, "lr": trainer.rate(), **figures}
    line = json.dumps({name: round(value, 5) for name, value in row.items()})
    with (trainer.out / "log.jsonl").open("a") as file:
        file.write(line + "\n")
    log.info("%s", line)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks: mapping fresh pages for every tensor costs a third of a step on a CPU."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    mmap_max, trim_threshold, top_pad, arena_max = -4, -1, -2, -8
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**28), (arena_max, 1)):
        libc.mallopt(option, value)


def main(
    *,
    out: Annotated[Path, typer.Option(help="folder of cache, checkpoint, log and weights")],
    steps: Annotated[int, typer.Option(help="train to this step")] = 6000,
    cooldown: Annotated[int, typer.Option(help="last steps, over which the learning rate falls to zero")] = 1500,
    scenes: Annotated[int, typer.Option(help="family-A scenes in the cache")] = 4000,
    learning_rate: Annotated[float, typer.Option(help="peak learning rate of AdamW")] = 4e-4,
    seed: Annotated[int, typer.Option(help="of the weights and of every draw")] = 0,
    evaluate_seconds: Annotated[float, typer.Option(help="seconds between evaluations")] = 600.0,
) -> None:
    """Train sam-nano on family A, or go on training it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    plan = SamPlan(steps=steps, cooldown=cooldown, num_scenes=scenes, learning_rate=learning_rate, seed=seed)
    train(plan, out, SamIntervals(evaluate_seconds=evaluate_seconds))


if __name__ == "__main__":
    typer.run(main)
