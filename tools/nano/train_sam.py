"""Trains sam-nano on family A: `python -m tools.nano.train_sam --out DIR`.

Knows the optimizer, the schedule, checkpoints and the log. The same command resumes from the last checkpoint, in as
many sittings as one likes: the learning rate is constant until the last `--cooldown` steps before `--steps`, and a
later sitting may move both. On another machine, `--start WEIGHTS` begins a sitting from exported weights. Writes into
DIR the cache of scenes, last.pt (checkpoint), log.jsonl and, at every evaluation, sam-nano.safetensors (exponential
moving average of the weights, fp16).
"""

from __future__ import annotations

import ctypes
import json
import logging
import signal
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch import Tensor, nn

from segray.demo.shapes import Family
from segray.demo.world import Scene, WorldLook
from segray.sam.backends.segment_anything.nano import EMBED_DIM, IMAGE_SIZE, build_sam_nano, load_sam_nano
from tools.nano.sam_data import build_cache, draw_batch
from tools.nano.sam_evaluation import held_out, mean_ious
from tools.nano.sam_step import GroupingHead, step_losses

log = logging.getLogger(__name__)

WARMUP_STEPS: Final = 50
EMA_DECAY: Final = 0.998
CLIP_NORM: Final = 1.0
SMALL_SIDE: Final = IMAGE_SIZE // 2


@dataclass(frozen=True, kw_only=True)
class SamPlan:
    """Everything that decides the trained weights."""

    steps: int
    cooldown: int = 0
    small_steps: int = 3000
    """First steps, on images of half the side: a quarter of the work."""
    look: WorldLook = "photo"
    num_scenes: int = 6000
    images_per_step: int = 8
    prompts_per_image: int = 4
    second_round: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    seed: int = 0
    bf16: bool = True


@dataclass(frozen=True, kw_only=True)
class SamIntervals:
    """How often what is done beside training, and with what; decides nothing about the weights."""

    cache_workers: int = 1
    checkpoint_seconds: float = 120.0
    evaluate_cpu_seconds: float = 300.0
    evaluate_scenes: int = 24
    log_every: int = 20


class TrainingNet(nn.Module):
    """The nano SAM with the head that only training needs."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam
        self.grouping = GroupingHead(EMBED_DIM)


class Trainer:
    """Model, its moving average, optimizer and step; `save` and `resume` carry all of it."""

    def __init__(self, plan: SamPlan, out: Path) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.out = out
        self.step = 0
        self.began = 0
        self.cpu_seconds = 0.0
        self.sam: Sam = build_sam_nano()
        self.average: Sam = build_sam_nano()
        self.average.load_state_dict(self.sam.state_dict())
        self.net = TrainingNet(self.sam)
        decayed = [weight for weight in self.net.parameters() if weight.ndim > 1]
        plain = [weight for weight in self.net.parameters() if weight.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98))

    def rate(self) -> float:
        """Return the next step's learning rate: warm-up, constant, linear to zero over the last `cooldown` steps."""
        warm = min(1.0, (self.step - self.began + 1) / WARMUP_STEPS)
        left = (self.plan.steps - self.step) / max(self.plan.cooldown, 1)
        return self.plan.learning_rate * warm * min(1.0, left)

    def advance(self, cache: NDArray[np.uint8]) -> dict[str, float]:
        """Take one step; return its losses and figures."""
        began = time.process_time()
        plan, key = self.plan, [self.plan.seed, self.step]
        batch = draw_batch(cache, key, plan.images_per_step, plan.prompts_per_image)
        side = SMALL_SIDE if self.step < plan.small_steps else IMAGE_SIZE
        self.net.train()
        self.net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.bf16):
            rng = np.random.default_rng([*key, 1])
            losses = step_losses(self.sam, self.net.grouping, batch, rng, plan.second_round, side)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.step += 1
        self._follow()
        self.cpu_seconds += time.process_time() - began
        return {**{name: float(value.detach()) for name, value in losses.items()}, "grad": float(norm)}

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
            "step": self.step, "began": self.began, "cpu_seconds": self.cpu_seconds,
            "net": self.net.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        partial = self.out / "last.pt.partial"
        torch.save(state, partial)
        partial.replace(self.out / "last.pt")

    def resume(self) -> bool:
        """Load the checkpoint; return whether there is one."""
        path = self.out / "last.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.began, self.cpu_seconds = int(state["step"]), int(state["began"]), float(state["cpu_seconds"])
        return True

    def start_from(self, path: Path) -> None:
        """Begin at the step at which the weights were exported; optimizer and grouping head start anew."""
        weights = load_sam_nano(path).state_dict()
        self.sam.load_state_dict(weights)
        self.average.load_state_dict(weights)
        with safe_open(path, "pt") as file:
            self.step = self.began = int((file.metadata() or {}).get("step", 0))

    def export(self, path: Path) -> None:
        """The averaged weights as fp16 safetensors."""
        tensors = {name: value for name, value in self.average.state_dict().items() if value.is_floating_point()}
        half: dict[str, Tensor] = {name: value.half().contiguous() for name, value in tensors.items()}
        partial = path.with_suffix(".partial")
        save_file(half, partial, metadata={"model": "sam-nano", "step": str(self.step)})
        partial.replace(path)


def train(plan: SamPlan, out: Path, intervals: SamIntervals, start: Path | None = None) -> Trainer:
    """Train to `plan.steps`, from the last checkpoint in `out`, else from `start`; SIGTERM saves and stops."""
    out.mkdir(parents=True, exist_ok=True)
    cache_path = out / f"scenes-{plan.look}-{plan.num_scenes}.npy"
    build_cache(cache_path, plan.num_scenes, IMAGE_SIZE, intervals.cache_workers, plan.look)
    cache = np.load(cache_path, mmap_mode="r")
    trainer = Trainer(plan, out)
    if not trainer.resume() and start is not None:
        trainer.start_from(start)
    log.info("starting at step %d", trainer.step)
    asked_to_stop: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_stop.append(number))
    saved, evaluated = time.monotonic(), trainer.cpu_seconds
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
            if trainer.cpu_seconds - evaluated > intervals.evaluate_cpu_seconds:
                _evaluate(trainer, intervals)
                evaluated = trainer.cpu_seconds
    finally:
        signal.signal(signal.SIGTERM, before)
    trainer.save()
    trainer.export(out / "sam-nano.safetensors")
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
        scenes = _held_out(family, intervals.evaluate_scenes, trainer.plan.look)
        means = mean_ious(trainer.average, scenes, (1, 3), seed=0)
        scores |= {
            f"{family}_best@1": means[0, 0],
            f"{family}_single@1": means[0, 1],
            f"{family}_single@3": means[1, 1],
        }
    _write_log(trainer, scores)


@lru_cache
def _held_out(family: Family, count: int, look: WorldLook) -> list[Scene]:
    return list(held_out(family, count, look=look))


def _write_log(trainer: Trainer, figures: dict[str, float]) -> None:
    row = {
        "time": round(time.time()),
        "step": trainer.step,
        "cpu": trainer.cpu_seconds,
        "lr": trainer.rate(),
        **figures,
    }
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
    steps: Annotated[int, typer.Option(help="train to this step")] = 40_000,
    cooldown: Annotated[int, typer.Option(help="last steps, over which the learning rate falls to zero")] = 8_000,
    small_steps: Annotated[int, typer.Option(help="first steps, on images of half the side")] = 3000,
    start: Annotated[Path | None, typer.Option(help="weights to start from where OUT has no checkpoint")] = None,
    scenes: Annotated[int, typer.Option(help="family-A scenes in the cache")] = 6000,
    images: Annotated[int, typer.Option(help="images per step")] = 8,
    prompts: Annotated[int, typer.Option(help="prompts per image")] = 4,
    second_round: Annotated[int, typer.Option(help="prompts per image that get a second round")] = 1,
    learning_rate: Annotated[float, typer.Option(help="peak learning rate")] = 1e-3,
    fp32: Annotated[bool, typer.Option(help="for CPUs without bfloat16 instructions, where it is slow")] = False,
    seed: Annotated[int, typer.Option(help="seed of the weights and of every draw")] = 0,
    evaluate_cpu_seconds: Annotated[float, typer.Option(help="CPU seconds between evaluations")] = 300.0,
) -> None:
    """Train sam-nano on family A, or resume training it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    plan = SamPlan(
        steps=steps, cooldown=cooldown, small_steps=small_steps, num_scenes=scenes, images_per_step=images,
        prompts_per_image=prompts, second_round=second_round,
        learning_rate=learning_rate, seed=seed, bf16=not fp32,
    )  # fmt: skip
    train(plan, out, SamIntervals(evaluate_cpu_seconds=evaluate_cpu_seconds), start)


if __name__ == "__main__":
    typer.run(main)
