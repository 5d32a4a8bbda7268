"""The train job: check everything that can be checked before the spend, then the recipe's runs one after the other."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segray import __version__
from segray.config.base import fingerprint, plain
from segray.config.sources import Source
from segray.config.train import TrainConfig
from segray.data import files
from segray.data.sources import open_source
from segray.data.training_rows import TrainingRows, probe_all
from segray.errors import ConfigError, TrainError
from segray.models.build import start_hash
from segray.recipes import plans
from segray.sam.device import place
from segray.train.folder import RunFolder
from segray.train.group import Group
from segray.train.lineage import show_run
from segray.train.plan import RunPlan
from segray.train.report import write_report
from segray.train.session import RunJob, run_worker
from segray.train.watch import Progress, watching

CODE_VERSION = 1
"""Part of every run's name: raise it when the same config trains to other weights than before."""
ROLES = ("labeled", "unlabeled", "validation", "hidden")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run of the recipe, at its end."""

    name: str
    folder: RunFolder
    end: Mapping[str, Any]
    """What its finished.json says."""
    was_finished: bool
    """It was finished before: nothing was done."""


Show = Callable[[Progress], None]


def train(
    config: TrainConfig, *, fresh: bool = False, until: str | None = None, show: Show | None = None
) -> list[RunResult]:
    """Train what the recipe asks for, going on where an earlier command stopped; the last result is the student's.

    Args:
        config: the job.
        fresh: remove what its runs have left, and start over.
        until: the run after which to stop, such as `teacher`; none: all.
        show: told how it goes.

    Raises:
        ConfigError, SourceError, BackendError, TrainError: before any cluster work where it can be known before.
    """
    steps = _upto(plans(config), until)
    for plan in steps:
        _check_shares(config, plan)
    rows = prepare_rows(config)
    for plan in steps:
        plan.check({role: one.rows for role, one in rows.items()})
    folders: dict[str, RunFolder] = {}
    results = []
    for plan in steps:
        content = run_content(config, plan, rows, folders)
        folder = RunFolder(runs=config.runs, name=f"{plan.recipe}-{plan.name}-{fingerprint(content)}")
        folders[plan.name] = folder
        if fresh:
            folder.remove()
        done = folder.finished
        if done is None:
            folder.begin(_record(config, plan, content, rows, folders))
            parents = {name: folders[name].student("last") for name in plan.parents}
            uris = {role: one.uri for role, one in rows.items()}
            _run(RunJob(config=config, plan=plan, folder=folder, parents=parents, rows=uris), show)
        end = folder.finished
        if end is None:
            raise TrainError(f"{folder.uri}: the workers came back without finishing; the same command goes on")
        if done is None and files.scheme(folder.uri) == "":
            write_report(show_run(folder.runs, folder.name), Path(folder.uri) / "report.html")
        results.append(RunResult(name=plan.name, folder=folder, end=end, was_finished=done is not None))
    return results


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """Training rows and where they lie for all workers."""

    uri: str
    rows: TrainingRows


def _upto(steps: Sequence[RunPlan], until: str | None) -> Sequence[RunPlan]:
    names = [plan.name for plan in steps]
    if until is not None and until not in names:
        raise ConfigError(f"the recipe has no run called {until!r}; its runs are {', '.join(names)}")
    return steps[: names.index(until) + 1] if until else steps


def _check_shares(config: TrainConfig, plan: RunPlan) -> None:
    """A step's images must be there, shared out evenly, and groups stay whole, on any number of workers there may be.

    Raises:
        ConfigError: they cannot.
    """
    if plan.unlabeled and config.data.unlabeled is None:
        raise ConfigError(f"the {plan.name} run learns from unlabeled images: give data.unlabeled")
    most = max(config.workers.count, 1)
    schedule, problems = plan.schedule, []
    for workers in range(config.workers.min_count or most, most + 1):
        pieces = workers * schedule.accumulate
        for name, batch, group in (
            ("labeled_batch", schedule.labeled_batch, 1),
            *((("unlabeled_batch", schedule.unlabeled_batch, plan.group),) if plan.unlabeled else ()),
        ):
            if batch % (pieces * group):
                whole = f", in groups of {group}" if group > 1 else ""
                problems.append(
                    f"{plan.name}.schedule.{name}: {batch} images cannot be shared by {workers} workers in"
                    f" {schedule.accumulate} pieces{whole}: give a multiple of {pieces * group}"
                )
    if problems:
        raise ConfigError(f"the {plan.name} run's steps cannot be shared out evenly", tuple(problems))


def prepare_rows(config: TrainConfig) -> dict[str, StoredRows]:
    """The rows of each role that the config gives, built anew from its source and looked at.

    Raises:
        SourceError, TrainError: a source cannot be read; no masks to learn from; classes or images that do not fit.
    """
    rows: dict[str, StoredRows] = {}
    classes: tuple[str, ...] | None = None
    for role in ROLES:
        source: Source | None = getattr(config.data, role)
        if source is None:
            continue
        built = _rows(files.join(config.runs, "rows"), source, classes, role)
        classes = built.rows.classes if role == "labeled" else classes
        probe_all(built.rows)
        rows[role] = built
    return rows


def run_content(
    config: TrainConfig, plan: RunPlan, rows: Mapping[str, StoredRows], folders: Mapping[str, RunFolder]
) -> dict[str, Any]:
    """Everything that decides a run's weights; its fingerprint names the run."""
    return {
        "code": CODE_VERSION,
        "recipe": plan.recipe,
        "run": plan.name,
        "settings": dict(plan.settings),
        "schedule": plain(plan.schedule),
        "student": plain(config.student),
        "start": start_hash(config.student),
        "view": plain(config.view),
        "seed": config.seed,
        "labeled": rows["labeled"].rows.fingerprint,
        "unlabeled": rows["unlabeled"].rows.fingerprint if plan.unlabeled else None,
        "parents": {name: folders[name].name for name in plan.parents},
    }


def _record(
    config: TrainConfig,
    plan: RunPlan,
    content: Mapping[str, Any],
    rows: Mapping[str, StoredRows],
    folders: Mapping[str, RunFolder],
) -> dict[str, Any]:
    """What run.json says beside: where everything came from."""
    return {
        "name": folders[plan.name].name,
        "recipe": plan.recipe,
        "run": plan.name,
        "segray": __version__,
        "fingerprint": fingerprint(dict(content)),
        "content": dict(content),
        "classes": list(rows["labeled"].rows.classes),
        "parents": {name: folders[name].name for name in plan.parents},
        "data": {
            role: {
                "source": plain(getattr(config.data, role)),
                "fingerprint": one.rows.fingerprint,
                "images": len(one.rows),
            }
            for role, one in rows.items()
        },
        "config": plain(config),
    }


def _rows(folder: str, source: Source, classes: Sequence[str] | None, role: str) -> StoredRows:
    """A source's rows in the runs' folder, under a name that their content decides."""
    with tempfile.TemporaryDirectory() as scratch:
        built = TrainingRows.build(
            open_source(source),
            Path(scratch) / "rows.arrow",
            classes=classes,
            with_masks=role != "unlabeled",
            crowds=role in ("validation", "hidden"),
        )
        uri = files.join(folder, f"{built.fingerprint}.arrow")
        files.write_bytes_atomic(uri, built.path.read_bytes())
    return StoredRows(uri=uri, rows=TrainingRows.open(files.local_copy(uri)))


def _run(job: RunJob, show: Show | None) -> None:
    """One run, in this process or on Ray."""
    with watching(job.folder, job.plan.schedule.steps, show):
        if job.config.workers.count == 0:
            run_worker(job, Group(device=place(job.config.device, "float32", compiled=False)))
            return
        from segray.jobs.cluster import connected
        from segray.train.ray_workers import run_on_ray

        with connected():
            run_on_ray(job)
