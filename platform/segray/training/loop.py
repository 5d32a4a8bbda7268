"""The loop's one step: prepare, count, forward, backward, update. Knows steps, not methods; imports no Ray."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from segray import metric_names
from segray.config.schedule import Schedule
from segray.errors import TrainError
from segray.training.augmentation.batch import Batch
from segray.training.distributed import WorkerGroup
from segray.training.objective import Objective, RunPosition
from segray.training.optimizer import build_optimizer, set_rate
from segray.training.precision import autocast

Pieces = Sequence[tuple[Batch, Batch | None]]
"""A worker's labeled and unlabeled images of one step, cut into what fits into memory at once."""


class Loop:
    """A run's moving parts on one worker."""

    def __init__(self, objective: Objective[Any], schedule: Schedule, group: WorkerGroup) -> None:
        self.objective, self.schedule, self.group = objective, schedule, group
        self.optimizer = build_optimizer(objective.student, schedule)
        self.module = group.wrap(objective.module)
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0

    def advance(self, pieces: Pieces, step: int) -> None:
        """The update after `step` updates.

        Raises:
            TrainError: a loss or gradient is not finite; nothing was updated.
        """
        objective, group = self.objective, self.group
        objective.before_step(RunPosition(step=step, steps=self.schedule.steps))
        objective.module.train()
        prepared = [
            objective.prepare(labeled.to(group.device), unlabeled.to(group.device) if unlabeled else None)
            for labeled, unlabeled in pieces
        ]
        counts = torch.stack([objective.count(piece) for piece in prepared]).sum(0)
        count = group.sum(counts) / group.world
        losses: dict[str, torch.Tensor] = {}
        for index, piece in enumerate(prepared):
            with self._unsynced(last=index == len(prepared) - 1), autocast(self.schedule, group.device):
                found = self.module(piece, count)
                torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
            for name, value in found.items():
                losses[name] = losses.get(name, torch.zeros((), device=group.device)) + value.detach()
        self._update(losses, step)
        self._remember(losses)

    def metrics(self) -> dict[str, float]:
        """Means since the last call, over all workers: losses per step, and the objective's figures."""
        mine = {name: (float(value), float(self._steps)) for name, value in self._sums.items()}
        mine |= {name: (float(total), float(number)) for name, (total, number) in self.objective.figures().items()}
        self._sums, self._steps = {}, 0
        names = sorted({name for worker in self.group.gather(sorted(mine)) for name in worker})
        pairs = torch.tensor([mine.get(name, (0.0, 0.0)) for name in names], dtype=torch.float64)
        pairs = self.group.sum(pairs.to(self.group.device)).cpu()
        return {name: float(total / max(number, 1e-12)) for name, (total, number) in zip(names, pairs, strict=True)}

    def _update(self, losses: Mapping[str, torch.Tensor], step: int) -> None:
        set_rate(self.optimizer, self.schedule, step)
        norm = torch.nn.utils.clip_grad_norm_(self.objective.student.parameters(), self.schedule.clip_norm)
        # The workers' gradients are averaged, so that all of them see this and stop together.
        if not torch.isfinite(norm):
            worst = ", ".join(f"{name} {float(value):.4g}" for name, value in losses.items())
            raise TrainError(
                f"the gradient is not finite at step {step} (losses here: {worst}): the same command would come here"
                f" again; give a lower schedule.learning_rate (now {self.schedule.learning_rate:g}) or a longer"
                " schedule.warmup, which is another run"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _remember(self, losses: Mapping[str, torch.Tensor]) -> None:
        self._steps += 1
        named = {metric_names.part(metric_names.LOSS, name): value for name, value in losses.items()}
        for name, value in {metric_names.LOSS: torch.stack(list(losses.values())).sum(), **named}.items():
            # Each worker's losses are its share times the number of workers: their mean is the whole batch's.
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value

    def _unsynced(self, *, last: bool) -> AbstractContextManager[None]:
        if last or not isinstance(self.module, DistributedDataParallel):
            return nullcontext()
        return self.module.no_sync()
