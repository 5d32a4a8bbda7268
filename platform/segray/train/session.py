"""A run on one worker, from its rows to its packaged students. Knows files and the loop; no Ray, no method."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from segray.config.train import TrainConfig
from segray.data import files
from segray.data.training_rows import TrainingRows
from segray.models.package import save_student
from segray.train import checkpoint
from segray.train.folder import RunFolder
from segray.train.group import Group
from segray.train.loader import StepLoader
from segray.train.loop import Loop
from segray.train.metrics import MetricsLog
from segray.train.objective import Objective
from segray.train.plan import Context, EvaluationRows, RunPlan
from segray.train.tracking import open_tracker

log = logging.getLogger(__name__)

NUM_PANELS = 8
"""Images in a run's report."""


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """All that a worker is told."""

    config: TrainConfig
    plan: RunPlan
    folder: RunFolder
    rows: Mapping[str, str]
    """Where the training rows lie, by role: labeled, unlabeled, validation, hidden."""
    parents: Mapping[str, str]
    """Student package of each parent run."""


def run_worker(job: RunJob, group: Group) -> None:
    """Train from the newest checkpoint to the end; every worker of the group calls this.

    Raises:
        TrainError: a loss is not finite, or a checkpoint does not fit.
    """
    threads = job.config.workers.torch_threads or max(int(job.config.workers.cpus), 1)
    torch.set_num_threads(threads)
    Session(job, group).run()


class Session:
    """A worker's part of a run."""

    def __init__(self, job: RunJob, group: Group) -> None:
        self.job, self.group = job, group
        plan, config = job.plan, job.config
        rows = {role: TrainingRows.open(files.local_copy(uri)) for role, uri in job.rows.items()}
        self.labeled = rows["labeled"]
        self.unlabeled = rows["unlabeled"] if plan.unlabeled else None
        context = Context(config=config, classes=self.labeled.classes, device=group.device, parents=job.parents)
        self.objective: Objective[Any] = plan.objective(context)
        measured = EvaluationRows(validation=rows.get("validation"), hidden=rows.get("hidden"))
        self.evaluator = plan.evaluator(context, measured)
        self.loop = Loop(self.objective, plan.schedule, group)
        self.best: Mapping[str, float] | None = None
        self.seconds_before, self.began = 0.0, time.monotonic()
        self.warned = False

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """What a checkpoint holds."""
        return {"student": self.objective.student, **self.objective.teachers()}

    def run(self) -> None:
        """From where the run stands to its end."""
        plan, config = self.job.plan, self.job.config
        start = self._resume()
        metrics = MetricsLog(self.job.folder.uri, resume_step=start) if self.group.leads else None
        tracker = open_tracker(
            config.tracking, self.job.folder.uri, self.job.folder.name, config, leads=self.group.leads
        )
        self.metrics, self.tracker = metrics, tracker
        loader = StepLoader(
            self.labeled,
            self.unlabeled,
            config.view,
            plan.schedule,
            seed=config.seed,
            rank=self.group.rank,
            world=self.group.world,
            start_step=start,
            loaders=config.workers.loaders,
        )
        for step, pieces in enumerate(loader, start):
            self.loop.advance(pieces, step)
            self._between(step + 1)
        self._finish()

    def _resume(self) -> int:
        """Load the newest checkpoint; the number of updates done."""
        found = checkpoint.find(self.job.folder.uri)
        self.group.wait()
        if not found:
            return 0
        newest = found[0]
        checkpoint.load(newest, modules=self.modules, optimizer=self.loop.optimizer, device=self.group.device)
        self.best, self.seconds_before = newest.best, newest.seconds
        log.info("going on from step %d", newest.step)
        return newest.step

    def _between(self, done: int) -> None:
        """What is due after `done` updates."""
        rhythm, last = self.job.config.rhythm, done == self.job.plan.schedule.steps
        if done % rhythm.log_every == 0 or last:
            self._tell("train", done, self.loop.metrics())
            self._leave_in_time(done)
        if rhythm.evaluate_every and done % rhythm.evaluate_every == 0 and not last:
            self._evaluate(done, final=False)
        if done % rhythm.checkpoint_every == 0 and not last:
            self._checkpoint(done)

    def _finish(self) -> None:
        steps = self.job.plan.schedule.steps
        last = self._evaluate(steps, final=True)
        self._checkpoint(steps)
        if self.group.leads:
            self._package("last", steps, last)
            panels = self.evaluator.panels(self.objective, NUM_PANELS) if self.evaluator else []
            self.job.folder.finish(step=steps, seconds=self._seconds(), best=self.best, last=last, panels=panels)
            self.tracker.close()
        self.group.wait()

    def _evaluate(self, done: int, *, final: bool) -> Mapping[str, float]:
        """Measure the student, all workers together; keep it where it is the best so far."""
        if self.evaluator is None:
            return {}
        group = self.group
        self.objective.module.eval()
        part = self.evaluator.shard(self.objective, rank=group.rank, world=group.world, final=final)
        found = self.evaluator.result(group.gather(part))
        self._tell("evaluate", done, found)
        group.report({"step": float(done), **found})
        value = found.get(self.evaluator.metric)
        if value is not None and (self.best is None or value > self.best[self.evaluator.metric]):
            self.best = {"step": float(done), **found}
            if group.leads:
                self._package("best", done, found)
        return found

    def _tell(self, kind: str, done: int, values: Mapping[str, float]) -> None:
        if self.metrics is not None:
            self.metrics.write(kind, done, values)
            self.tracker.log(kind, done, values)

    def _leave_in_time(self, done: int) -> None:
        """A checkpoint of its own when a machine is about to go."""
        if not self.warned and self.group.leaving():
            self.warned = True
            log.warning("a machine is about to go: checkpoint at step %d", done)
            self._checkpoint(done)

    def _checkpoint(self, done: int) -> None:
        if self.metrics is not None:
            self.metrics.flush()
            checkpoint.save(
                self.job.folder.uri,
                step=done,
                seconds=self._seconds(),
                best=self.best,
                modules=self.modules,
                optimizer=self.loop.optimizer,
            )
        self.group.wait()

    def _package(self, name: str, done: int, metrics: Mapping[str, float]) -> None:
        info = {"run": self.job.folder.name, "step": done, "metrics": dict(metrics)}
        save_student(self.objective.student, self.job.folder.student(name), info=info)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.began
