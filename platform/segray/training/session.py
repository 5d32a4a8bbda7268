"""A run on one worker, from its rows to its packaged students. Knows files and the loop; no Ray, no method."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from segray import metric_names
from segray.config.train import TrainSettings
from segray.config.types import NetworkName
from segray.datasets.training_rows import TrainingRows
from segray.errors import BackendError, TrainError
from segray.models.package import read_card, read_weights, save_student
from segray.models.student import Student
from segray.storage import commits, files
from segray.storage.local_copies import local_copy
from segray.training import checkpoint
from segray.training.distributed import WorkerGroup
from segray.training.loader import StepLoader
from segray.training.loop import Loop
from segray.training.objective import EvaluatedNetworks, NetworksOnly, Objective
from segray.training.plan import EvaluationRows, Evaluator, RunContext, RunPlan
from segray.training.runs.folder import RunFolder
from segray.training.runs.metrics import MetricsLog
from segray.training.runs.tracking import open_tracker

log = logging.getLogger(__name__)

NUM_PANELS = 8
"""Images in a run's report."""


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """All that a worker is told."""

    config: TrainSettings
    plan: RunPlan
    folder: RunFolder
    rows: Mapping[str, str]
    """Where the training rows lie, by role: labeled, unlabeled, validation, hidden."""
    parents: Mapping[str, str]
    """Student package of each parent run."""
    home: str
    """The folder that the command was given in, which local paths may be relative to."""
    measured: str
    """Names what figures are taken on, and how: those of one name can be compared."""


def run_worker(job: RunJob, group: WorkerGroup) -> None:
    """Train from the newest checkpoint to the end, and measure; every worker of the group calls this.

    Raises:
        TrainError: a loss is not finite, or no checkpoint fits.
        StoreError: the run's folder cannot be written; its checkpoints stay.
    """
    threads = job.config.workers.threads or max(int(job.config.workers.cpus), 1)
    torch.set_num_threads(threads)
    with commits.os_errors_as_store_errors(job.folder.uri):
        Session(job, group).run()


class Session:
    """A worker's part of a run."""

    def __init__(self, job: RunJob, group: WorkerGroup) -> None:
        self.job, self.group = job, group
        plan, config = job.plan, job.config
        rows = {role: TrainingRows.open(local_copy(uri)) for role, uri in job.rows.items()}
        self.labeled = rows["labeled"]
        self.unlabeled = rows["unlabeled"] if plan.unlabeled else None
        context = RunContext(config=config, classes=self.labeled.classes, device=group.device, parents=job.parents)
        self.objective: Objective[Any] = plan.objective(context)
        measured = EvaluationRows(validation=rows.get("validation"), hidden=rows.get("hidden"))
        if plan.unlabeled and measured.hidden is not None and not self.objective.labels_images:
            log.warning(
                "data.hidden is not used: %s overrides neither label nor label_maps, so that no pseudo-labels are"
                " measured",
                type(self.objective).__name__,
            )
        self.evaluator = plan.evaluator(context, measured)
        self.networks = _kept_networks(self.objective)
        wanted = config.evaluation.best_by
        self.network: NetworkName = wanted if wanted in self.networks else "student"
        """The network that says which step is best; runs before the last one may have no teacher."""
        self.metric = _metric(self.evaluator, self.network)
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
            loaders=config.workers.num_loaders,
        )
        for step, pieces in enumerate(loader, start):
            self.loop.advance(pieces, step)
            self._between(step + 1)
        self._finish()

    def _resume(self) -> int:
        """Load the newest checkpoint that all workers can load; the number of updates done.

        Raises:
            TrainError: there are checkpoints, and none of them loads.
        """
        problems: list[str] = []
        for saved in checkpoint.find(self.job.folder.uri):
            failures = [problem for problem in self.group.gather(self._load(saved)) if problem]
            if not failures:
                self.best = saved.best if saved.measured == self.job.measured else None
                self.seconds_before = saved.seconds
                log.info("going on from step %d", saved.step)
                return saved.step
            problems.append(failures[0])
            log.warning("a checkpoint is passed over: %s", failures[0])
        if problems:
            raise TrainError(problems[0])
        return 0

    def _load(self, saved: checkpoint.Checkpoint) -> str:
        """Load a checkpoint; what is wrong with it."""
        try:
            checkpoint.load(saved, modules=self.modules, optimizer=self.loop.optimizer, device=self.group.device)
        except TrainError as error:
            return str(error)
        return ""

    def _between(self, done: int) -> None:
        """What is due after `done` updates."""
        intervals, last = self.job.config.intervals, done == self.job.plan.schedule.steps
        logged, saved = done % intervals.log_every == 0 or last, done % intervals.checkpoint_every == 0 and not last
        if logged:
            self._tell("train", done, self.loop.metrics())
        if intervals.evaluate_every and done % intervals.evaluate_every == 0 and not last:
            self._keep_if_best(done, self._evaluate(done, final=False))
        if saved:
            self._checkpoint(done)
        if logged:
            self._leave_in_time(done, saved=saved)

    def _finish(self) -> None:
        steps = self.job.plan.schedule.steps
        last = self._evaluate(steps, final=True)
        self._checkpoint(steps)
        best = self._better(steps, last)
        if self.group.leads:
            self._package("last", steps, last)
            panels = self.evaluator.panels(self.objective, NUM_PANELS) if self.evaluator else []
            self.job.folder.finish(
                step=steps,
                seconds=self._seconds(),
                best=best,
                last=last,
                panels=panels,
                measured=self.job.measured,
                metric=self.metric or None,
                network=self.network,
            )
            self.tracker.close()
        self.group.wait()

    def _evaluate(self, done: int, *, final: bool) -> Mapping[str, float]:
        """Measure the student, and tell."""
        if self.evaluator is None:
            return {}
        found = self._measure(self.evaluator, self.objective, final=final)
        self._tell("evaluate", done, found)
        self.group.report({"step": float(done), **found})
        return found

    def _measure(self, evaluator: Evaluator, measured: EvaluatedNetworks, *, final: bool) -> Mapping[str, float]:
        """All workers together."""
        measured.student.eval()
        part = evaluator.shard(measured, rank=self.group.rank, world=self.group.world, final=final)
        return evaluator.result(self.group.gather(part))

    def _keep_if_best(self, done: int, found: Mapping[str, float]) -> None:
        metric = self.metric
        if metric in found and (self.best is None or found[metric] > self.best[metric]):
            self.best = {"step": float(done), **found}
            if self.group.leads:
                self._package("best", done, found)

    def _better(self, steps: int, last: Mapping[str, float]) -> Mapping[str, float] | None:
        """The better of the step that was best on the way and the last one, both on all images; `best` is that one.

        On the way a network may have been measured on few images, and by luck.
        """
        if self.evaluator is None or self.metric not in last:
            return None
        step, weights = self._kept()
        if weights and step != steps:
            own = {name: _copy(one) for name, one in self.networks.items()}
            self._load_networks(weights)
            others: dict[str, torch.nn.Module] = {}
            if self.network != "student":
                others[self.network] = self.networks[self.network]
            found = self._measure(self.evaluator, NetworksOnly(self.objective.student, others), final=True)
            better = found[self.metric] >= last[self.metric]
            if better and self.group.leads:
                self._package("best", step, found)
            self._load_networks(own)
            if better:
                return {"step": float(step), **found}
        if self.group.leads:
            self._package("best", steps, last)
        return {"step": float(steps), **last}

    def _kept(self) -> tuple[int, Mapping[NetworkName, Mapping[str, torch.Tensor]]]:
        """Step and weights of the networks that were best on the way; no weights where there are none."""
        folders = {name: self.job.folder.student("best", name) for name in self.networks}
        if not files.exists(folders["student"]):
            return 0, {}
        try:
            steps = {int(read_card(folder)["info"]["step"]) for folder in folders.values()}
            weights = {name: read_weights(folder) for name, folder in folders.items()}
        except BackendError as error:
            # Its writer died between weights and card, or it was damaged since.
            log.warning("the best student so far is lost, the last one takes its place: %s", error)
            return 0, {}
        if len(steps) > 1:
            log.warning("the best student so far is lost, its teacher is of another step: %s", folders["student"])
            return 0, {}
        return steps.pop(), weights

    def _load_networks(self, weights: Mapping[NetworkName, Mapping[str, torch.Tensor]]) -> None:
        for name, one in self.networks.items():
            one.load_state_dict(weights[name])

    def _tell(self, kind: str, done: int, values: Mapping[str, float]) -> None:
        if self.metrics is not None:
            self.metrics.write(kind, done, values)
            self.tracker.log(kind, done, values)
            self.group.observe(kind, done, values)

    def _leave_in_time(self, done: int, *, saved: bool) -> None:
        """A checkpoint of its own when a machine is about to go, unless one was just saved."""
        if not self.warned and self.group.leaving():
            self.warned = True
            log.warning("a machine is about to go: checkpoint at step %d", done)
            if not saved:
                self._checkpoint(done)

    def _checkpoint(self, done: int) -> None:
        if self.metrics is not None:
            self.metrics.flush()
            checkpoint.save(
                self.job.folder.uri,
                step=done,
                seconds=self._seconds(),
                best=self.best,
                measured=self.job.measured,
                modules=self.modules,
                optimizer=self.loop.optimizer,
            )
        self.group.wait()

    def _package(self, name: str, done: int, metrics: Mapping[str, float]) -> None:
        """Write all networks of a step, the teacher first: a student of the step says that its teacher is there."""
        info = {"run": self.job.folder.name, "step": done, "metrics": dict(metrics)}
        for network, one in reversed(self.networks.items()):
            save_student(one, self.job.folder.student(name, network), info={**info, "network": network})

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.began


def _kept_networks(objective: Objective[Any]) -> dict[NetworkName, Student]:
    """Return the student, and its teacher where the objective has one: what is packaged."""
    teacher = objective.teachers().get("teacher")
    kept: dict[NetworkName, Student] = {"student": objective.student}
    return {**kept, "teacher": teacher} if isinstance(teacher, Student) else kept


def _metric(evaluator: Evaluator | None, network: NetworkName) -> str:
    """Return the name of the figure that says which step is best; "" where nothing is measured."""
    if evaluator is None:
        return ""
    return metric_names.of_network("" if network == "student" else network, evaluator.metric)


def _copy(network: Student) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
