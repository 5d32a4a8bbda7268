"""What commands show people: progress, summaries, tables, errors. Knows rich, and plain lines where nobody watches."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from segray import figures
from segray.evaluation.average_precision import ApResult
from segray.evaluation.recall import RecallResult
from segray.formats.tally import ExportSummary
from segray.jobs.label import LabelProgress, Show
from segray.jobs.train import RunResult
from segray.labels.summary import Summary
from segray.masks.mean_iou import IouResult
from segray.store import StoreInfo
from segray.training.measures import measure_of
from segray.training.runs.lineage import Run
from segray.training.runs.watch import TrainProgress

out = Console()
err = Console(stderr=True)

FIGURES = (f"last.{figures.AP}", f"last.{figures.MIOU}")
"""Of a run in a list."""
LINE_EVERY_S = 10.0
"""Seconds between progress lines where there is no terminal."""


COLUMNS = ("{task.description}", "{task.fields[rate]}")
"""What stands before and after a bar."""


def _bars(*, transient: bool) -> Progress:
    before, after = (TextColumn(text) for text in COLUMNS)
    return Progress(before, BarColumn(), MofNCompleteColumn(), after, console=err, transient=transient)


def _now_and_then() -> Callable[[str, bool], None]:
    """Prints a line when the last one is long ago, or when it is the last one of all."""
    last = 0.0

    def line(text: str, over: bool) -> None:
        nonlocal last
        if over or time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            err.print(text, highlight=False)

    return line


@contextmanager
def label_progress(total_hint: str) -> Iterator[Show]:
    """Shows a label job's progress: a bar on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        line = _now_and_then()
        yield lambda at: line(f"{total_hint}: {at.done}/{at.total} images, {_rate(at)}", at.done == at.total)
        return
    with _bars(transient=True) as progress:
        task = progress.add_task(total_hint, total=None, rate="starting")
        yield lambda at: progress.update(task, total=at.total, completed=at.done, rate=_rate(at))


def _rate(at: LabelProgress) -> str:
    working_s = max(at.elapsed_s - at.startup_s, 1e-6)
    left_s = (at.total - at.done) * working_s / max(at.done, 1)
    refused = f", {at.refused} refused" if at.refused else ""
    return f"{at.done / working_s:.2f} images/s, {at.masks} masks{refused}, {duration(left_s)} left"


@contextmanager
def train_progress() -> Iterator[Callable[[TrainProgress], None]]:
    """Shows a training's progress, run after run: bars on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        line = _now_and_then()
        yield lambda at: line(f"{at.run}: {at.step}/{at.steps} steps, {_train_rate(at)}", at.step == at.steps)
        return
    with _bars(transient=False) as progress:
        tasks: dict[str, TaskID] = {}

        def show(at: TrainProgress) -> None:
            if at.run not in tasks:
                tasks[at.run] = progress.add_task(at.run, total=at.steps, rate="")
            progress.update(tasks[at.run], completed=at.step, rate=_train_rate(at))

        yield show


def _train_rate(at: TrainProgress) -> str:
    known = [
        f"{name} {at.figures[name]:.3g}" for name in (figures.LOSS, figures.AP, figures.MIOU) if name in at.figures
    ]
    left = f"{duration((at.steps - at.step) / at.steps_per_s)} left" if at.steps_per_s else ""
    return ", ".join(part for part in (f"{at.steps_per_s:.2f} steps/s", *known, left) if part)


def run_results(results: Sequence[RunResult]) -> None:
    """The end of a training: each run, where it is, what it reached."""
    rows = []
    for one in results:
        last, best = one.end["last"], one.end["best"] or {}
        reached = ", ".join(
            f"{name} {100 * last[name]:.1f} (best {100 * best.get(name, last[name]):.1f})"
            for name in (figures.AP, figures.AP50, figures.MIOU)
            if name in last
        )
        note = (
            "finished before, --fresh trains anew"
            if one.was_finished
            else f"{duration(one.end['seconds'])} of training"
        )
        rows.append((one.name, reached or "not measured", note))
    table(("run", "last student, %", ""), rows)
    folders({one.name: one.folder.uri for one in results})


def folders(named: Mapping[str, str]) -> None:
    """A line for each, never broken, so that it can be copied."""
    for name, folder in named.items():
        out.print(f"{name}: {folder}", highlight=False, markup=False, soft_wrap=True)


def comparison(results: Mapping[str, RunResult]) -> None:
    """Students of several methods by AP or mIoU, in percent; the first is what the others are compared with."""
    measure = measure_of(next(iter(results.values())).end["last"])
    values = {name: 100 * one.end["last"][measure.key] for name, one in results.items()}
    first = next(iter(values.values()))
    rows = [(name, f"{value:.1f}", f"{value - first:+.1f}") for name, value in values.items()]
    table(("student", f"{measure.name}, %", "against the first"), rows)


def answer(instances: Sequence[Mapping[str, Any]]) -> None:
    """What an endpoint found on one image."""
    rows = [(one["class"], f"{one['score']:.2f}", f"{one['area']} px") for one in instances]
    table(("object", "score", "area"), rows)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows done of all: a bar on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        line = _now_and_then()
        yield lambda done, total: line(f"{what}: {done}/{total}", done == total)
        return
    with _bars(transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def evaluation(result: ApResult | IouResult | RecallResult) -> None:
    """AP, mIoU of label maps, or recall of masks without a class, in percent."""
    if isinstance(result, RecallResult):
        table(("", "%"), [("recall of the true objects (AR@1000)", _percent(result.recall))])
        return
    names = ("miou", "accuracy", "coverage") if isinstance(result, IouResult) else figures.AP_FIGURES
    rows = [(name, _percent(getattr(result, name))) for name in names]
    table(("", "%"), [*rows, *((f"  {name}", _percent(value)) for name, value in result.per_class.items())])


def runs(found: Sequence[Run]) -> None:
    """Runs and what their last students reached."""
    rows = [
        (
            one.name,
            "finished" if one.end else "not finished",
            *(_percent(one.figures.get(f, math.nan)) for f in FIGURES),
        )
        for one in found
    ]
    table(("run", "", "AP, %", "mIoU, %"), rows)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def label_summary(summary: Summary) -> None:
    """The end of a label run."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _label_lines(summary):
        table.add_row(name, value)
    out.print(table, highlight=False)
    out.print(f"store: {summary.store}", highlight=False, soft_wrap=True)


def _label_lines(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "outcome", summary.outcome
    yield "images", f"{summary.images} ({summary.known} were known)"
    yield "masks", str(summary.masks)
    refused = ", ".join(f"{number} {reason}" for reason, number in sorted(summary.refused.items()))
    in_all = f", {summary.store_refused_share:.1%} of all in the store" if summary.store_refused_share else ""
    yield "refused", f"{sum(summary.refused.values())}{f' ({refused})' if refused else ''}{in_all}"
    if not summary.images:
        return
    yield "time", f"{duration(summary.wall_s)}, of which start-up {duration(summary.startup_s)}"
    yield "rate", f"{summary.images_per_s:.2f} images/s, {summary.actor_s_per_image:.3f} actor-s per image"
    if summary.gpu_s_per_image:
        yield "GPU", f"{summary.gpu_s_per_image:.3f} GPU-s per image"
    if summary.cost is not None and summary.cost_per_1000 is not None:
        yield "cost", f"{summary.cost:.4g}, {summary.cost_per_1000:.4g} per 1,000 images"
    if summary.forecast:
        rest = summary.forecast
        yield "remaining", f"{rest.images} images"
        hours = f"{rest.actor_hours:.3g} ± {rest.actor_hours_error:.2g} actor-hours"
        hours += f", {rest.gpu_hours:.3g} GPU-hours" if rest.gpu_hours else ""
        yield "forecast", f"{hours}, {duration(rest.wall_hours * 3600)} with the largest pool"
        if rest.cost is not None and rest.cost_error is not None:
            of = "GPU-hour" if rest.gpu_hours else "actor-hour, as no actor has a GPU"
            yield "forecast cost", f"{rest.cost:.4g} ± {rest.cost_error:.2g}, cost.per_gpu_hour for each {of}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table; the first column is left-aligned, the rest right."""
    shown = Table(box=None, pad_edge=False)
    for index, name in enumerate(columns):
        shown.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    out.print(shown, highlight=False)


def export_summary(summary: ExportSummary, target: Path) -> None:
    """The end of an export."""
    out.print(f"{target}: {summary.images} images, {summary.masks} masks", highlight=False, soft_wrap=True)
    for what, skipped in (("images", summary.skipped), ("masks", summary.skipped_masks)):
        for reason, number in sorted(skipped.items()):
            out.print(f"  {number} {what} left out: {reason}", highlight=False)


def stores(found: Sequence[StoreInfo]) -> None:
    """A line per store."""
    columns = ("store", "images", "masks", "refused", "MiB", "parts", "actor time", "cost")
    rows = [
        (info.uri.rstrip("/").rpartition("/")[2], info.problem, *[""] * 6)
        if info.problem
        else (
            info.uri.rstrip("/").rpartition("/")[2],
            str(info.images),
            str(info.masks),
            str(sum(info.refused.values())),
            f"{info.bytes / 2**20:.1f}",
            str(info.parts),
            duration(info.seconds),
            "-" if info.cost is None else f"{info.cost:.4g}",
        )
        for info in found
    ]
    table(columns, rows)
