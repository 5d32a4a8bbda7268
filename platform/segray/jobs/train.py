"""The train job: check everything that can be checked before the spend, then the method's runs one after the other."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segray import __version__
from segray.config.base import fingerprint, plain
from segray.datasets.image_check import checked_rows
from segray.datasets.training_rows import ELSEWHERE, LeftOut, TrainingRows
from segray.errors import ConfigError, TrainError
from segray.formats.registry import SourceConfig
from segray.methods import plans
from segray.methods.config import TrainConfig
from segray.models.build import open_for, start_hash
from segray.nets.device import choose_device
from segray.storage import commits, files
from segray.storage.local_copies import local_copy
from segray.tally import Tally
from segray.training import checkpoint
from segray.training.distributed import WorkerGroup
from segray.training.plan import RunPlan
from segray.training.reports.report import write_report
from segray.training.runs.catalog import refuse_promoted, show_run
from segray.training.runs.folder import RunFolder
from segray.training.runs.watch import TrainProgress, watching
from segray.training.session import RunJob, run_worker

CODE_VERSION = 1
"""Part of every run's name: raise it when the same config trains to other weights than before."""
REPORT = "report.html"
ROLES = ("labeled", "unlabeled", "validation", "hidden")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run of the method, at its end."""

    name: str
    folder: RunFolder
    end: Mapping[str, Any]
    """What its finished.json says."""
    was_finished: bool
    """It was finished before, and measured on the same: nothing was done."""
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    """What was read for each table of `data`, and what of it was left out and why."""


Show = Callable[[TrainProgress], None]


def train(
    config: TrainConfig, *, fresh: bool = False, until: str | None = None, show: Show | None = None
) -> list[RunResult]:
    """Train what the method asks for, going on where an earlier command stopped; the last result is the student's.

    A finished run whose figures are of other images, or of another `student.predict`, is measured anew and not trained.

    Args:
        config: the job.
        fresh: remove what its runs have left, and start over.
        until: the run after which to stop, such as `teacher`; none: all.
        show: told how it goes.

    Raises:
        DamageError: more of the data is damaged than `max_damaged`.
        ConfigError, SourceError, BackendError, TrainError: before any cluster work where it can be known before.
        StoreError: another command is at one of its runs, or `runs` cannot be written.
    """
    with commits.os_errors_as_store_errors(config.runs):
        return _train(config, fresh=fresh, until=until, show=show)


def _train(config: TrainConfig, *, fresh: bool, until: str | None, show: Show | None) -> list[RunResult]:
    steps = _upto(plans(config), until)
    rows = prepare_rows(config)
    runs = _named(config, steps, rows)
    measured = measurement(config, rows)
    if fresh:
        for run in runs:
            refuse_promoted(run.folder)
    due = [run for run in runs if fresh or not _stands(run.folder, measured)]
    _look(rows, due)
    return [_train_one(config, run, rows, measured, fresh=fresh, due=run in due, show=show) for run in runs]


@dataclass(frozen=True, kw_only=True)
class NamedRun:
    """A run and the folder that its content names."""

    plan: RunPlan
    content: Mapping[str, Any]
    folder: RunFolder
    parents: Mapping[str, RunFolder]


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """Training rows and where they lie for all workers."""

    uri: str
    rows: TrainingRows
    tally: Tally
    """What was read for them, and what of it was left out and why."""


def _upto(steps: Sequence[RunPlan], until: str | None) -> Sequence[RunPlan]:
    names = [plan.name for plan in steps]
    if until is not None and until not in names:
        raise ConfigError(f"the method has no run called {until!r}; its runs are {', '.join(names)}")
    return steps[: names.index(until) + 1] if until else steps


def _named(config: TrainConfig, steps: Sequence[RunPlan], rows: Mapping[str, StoredRows]) -> list[NamedRun]:
    folders: dict[str, RunFolder] = {}
    runs = []
    for plan in steps:
        content = run_content(config, plan, rows, folders)
        folders[plan.name] = RunFolder(runs=config.runs, name=f"{plan.method}-{plan.name}-{fingerprint(content)}")
        parents = {name: folders[name] for name in plan.parents}
        runs.append(NamedRun(plan=plan, content=content, folder=folders[plan.name], parents=parents))
    return runs


def _stands(folder: RunFolder, measured: str) -> bool:
    """Whether the run is finished, with figures of this measurement.

    Raises:
        TrainError: it is finished with other figures, and what it could be measured anew from is gone.
    """
    end = folder.finished
    if end is None or end.get("measured") == measured:
        return end is not None
    newest = checkpoint.find(folder.uri)[:1]
    if not newest or newest[0].step != end["step"]:
        raise TrainError(
            f"{folder.uri}: was measured on other images or with another student.predict, and its last checkpoint is"
            " gone: measure its student with `segray evaluate`, or train anew with --fresh"
        )
    return False


def _look(rows: Mapping[str, StoredRows], due: Sequence[NamedRun]) -> None:
    """See that what is to be done can be, before anything is spent."""
    for run in due:
        run.plan.check({role: one.rows for role, one in rows.items()})


def _train_one(
    config: TrainConfig,
    run: NamedRun,
    rows: Mapping[str, StoredRows],
    measured: str,
    *,
    fresh: bool,
    due: bool,
    show: Show | None,
) -> RunResult:
    """One run to its end, or as it was found; a report where there is none."""
    folder, plan = run.folder, run.plan
    if due:
        job = RunJob(
            config=config,
            plan=plan,
            folder=folder,
            parents={name: parent.student("last") for name, parent in run.parents.items()},
            rows={role: one.uri for role, one in rows.items()},
            measured=measured,
            home=str(Path.cwd()),
        )
        with folder.lease():
            if fresh:
                folder.remove()
            folder.begin(_record(config, run, rows))
            _run(job, show)
    end = folder.finished
    if end is None or end.get("measured") != measured:
        raise TrainError(f"{folder.uri}: the workers came back without finishing; the same command goes on")
    if due or not files.exists(files.join(folder.uri, REPORT)):
        _report(folder)
    tallies = {f"data.{role}": one.tally for role, one in rows.items()}
    return RunResult(name=plan.name, folder=folder, end=end, was_finished=not due, tallies=tallies)


def _report(folder: RunFolder) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / REPORT
        write_report(show_run(folder.runs, folder.name), page)
        files.write_bytes_atomic(files.join(folder.uri, REPORT), page.read_bytes())


def prepare_rows(config: TrainConfig) -> dict[str, StoredRows]:
    """The rows of each role that the config gives, built anew from its source.

    Raises:
        DamageError: more of a source is damaged than `max_damaged`.
        SourceError, TrainError: a source cannot be read; no masks to learn from; classes that do not fit.
    """
    rows: dict[str, StoredRows] = {}
    for role in ROLES:
        source: SourceConfig | None = getattr(config.data, role)
        if source is not None:
            rows[role] = _rows(config, source, role, rows)
    return rows


def run_content(
    config: TrainConfig, plan: RunPlan, rows: Mapping[str, StoredRows], folders: Mapping[str, RunFolder]
) -> dict[str, Any]:
    """Everything that decides a run's weights; its fingerprint names the run."""
    return {
        "code": CODE_VERSION,
        "method": plan.method,
        "run": plan.name,
        "settings": dict(plan.settings),
        # In how many pieces a step goes is a matter of memory, like the number of workers: no loss knows of it.
        "schedule": {**plain(plan.schedule), "accumulate": 1},
        "student": {name: value for name, value in plain(config.student).items() if name != "predict"},
        "start": start_hash(config.student),
        "view": plain(config.view),
        "seed": config.seed,
        "labeled": rows["labeled"].rows.fingerprint,
        "unlabeled": rows["unlabeled"].rows.fingerprint if plan.unlabeled else None,
        "parents": {name: folders[name].name for name in plan.parents},
    }


def measurement(config: TrainConfig, rows: Mapping[str, StoredRows]) -> str:
    """Names what figures depend on beside the weights: the images, and how a student's output becomes instances."""
    measured = {role: rows[role].rows.fingerprint for role in ("validation", "hidden") if role in rows}
    few = {"hidden_images": config.intervals.evaluate_images} if "hidden" in rows else {}
    protocol = {} if config.evaluation.protocol == "coco" else {"protocol": config.evaluation.protocol}
    best_by = {} if config.evaluation.best_by == "student" else {"best_by": config.evaluation.best_by}
    return fingerprint({**measured, **few, **protocol, **best_by, "predict": plain(config.student.predict)})


def _record(config: TrainConfig, run: NamedRun, rows: Mapping[str, StoredRows]) -> dict[str, Any]:
    """What run.json says beside: where everything came from."""
    plan = run.plan
    return {
        "name": run.folder.name,
        "method": plan.method,
        "run": plan.name,
        "segray": __version__,
        "fingerprint": fingerprint(dict(run.content)),
        "content": dict(run.content),
        "classes": list(rows["labeled"].rows.classes),
        "parents": {name: parent.name for name, parent in run.parents.items()},
        "data": {
            role: {
                "source": plain(getattr(config.data, role)),
                "fingerprint": one.rows.fingerprint,
                "images": len(one.rows),
                "tally": one.tally.to_json(),
            }
            for role, one in rows.items()
        },
        "config": plain(config),
    }


def _rows(config: TrainConfig, source: SourceConfig, role: str, earlier: Mapping[str, StoredRows]) -> StoredRows:
    """A source's rows in the runs' folder, under a name that their bytes decide: content, and where images lie."""
    folder = files.join(config.runs, "rows")
    with tempfile.TemporaryDirectory() as scratch:
        built, tally = checked_rows(
            lambda: open_for(config.student, source),
            Path(scratch) / "rows.arrow",
            max_damaged=config.max_damaged,
            where=f"data.{role}",
            remembered=files.join(folder, "checks"),
            classes=earlier["labeled"].rows.classes if earlier else None,
            with_masks=role != "unlabeled",
            crowds=role in ("validation", "hidden"),
            bands=config.data.bands,
            keep_empty=config.data.keep_empty or role != "labeled",
            without=dict.fromkeys(earlier["labeled"].rows.uris, LeftOut(reason=ELSEWHERE)) if role == "hidden" else {},
        )
        uri = files.join(folder, f"{built.digest()}.arrow")
        if not files.exists(uri):
            files.write_bytes_atomic(uri, built.path.read_bytes())
    return StoredRows(uri=uri, rows=TrainingRows.open(local_copy(uri)), tally=tally)


def _run(job: RunJob, show: Show | None) -> None:
    """One run, in this process or on Ray."""
    with watching(job.folder, job.plan.schedule.steps, show):
        if job.config.workers.num_workers == 0:
            run_worker(job, WorkerGroup(device=choose_device(job.config.device, "float32", compiled=False)))
            return
        from segray.jobs.cluster import connected
        from segray.training.ray_workers import run_on_ray

        with connected():
            run_on_ray(job)
