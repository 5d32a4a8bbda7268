"""What commands print at their end: summaries and tables. Progress is shown by `jobs.progress`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from segray import metric_names
from segray.cli.common import tally_lines
from segray.evaluation.average_precision import ApResult
from segray.evaluation.cityscapes_precision import CityscapesApResult
from segray.evaluation.instance_scores import InstanceResult
from segray.evaluation.recall import RecallResult
from segray.formats.tally import ExportSummary
from segray.jobs.progress import duration
from segray.jobs.train import RunResult
from segray.labels.summary import Summary
from segray.masks.mean_iou import IouResult
from segray.store import StoreInfo
from segray.tally import Tally
from segray.training.reports.headline_metric import headline_metric
from segray.training.runs.catalog import Run

out = Console()

FIGURES = (f"last.{metric_names.AP}", f"last.{metric_names.MIOU}")
"""Of a run in a list."""


def run_results(results: Sequence[RunResult]) -> None:
    """The end of a training: each run, where it is, what it reached."""
    rows = []
    for one in results:
        last, best = one.end["last"], one.end["best"] or {}
        names = dict.fromkeys((one.end.get("metric"), metric_names.AP, metric_names.AP50, metric_names.MIOU))
        reached = ", ".join(
            f"{name} {100 * last[name]:.1f} (best {100 * best.get(name, last[name]):.1f})"
            for name in names
            if name in last
        )
        note = (
            "finished before, --fresh trains anew"
            if one.was_finished
            else f"{duration(one.end['seconds'])} of training"
        )
        rows.append((one.name, reached or "not measured", note))
    table(("run", "last student, %", ""), rows)
    tallies(results[-1].tallies)
    folders({one.name: one.folder.uri for one in results})


def folders(named: Mapping[str, str]) -> None:
    """A line for each, never broken, so that it can be copied."""
    for name, folder in named.items():
        out.print(f"{name}: {folder}", highlight=False, markup=False, soft_wrap=True)


def comparison(results: Mapping[str, RunResult]) -> None:
    """Students of several methods by AP or mIoU, in percent; the first is what the others are compared with."""
    measure = headline_metric(next(iter(results.values())).end["last"])
    values = {name: 100 * one.end["last"][measure.key] for name, one in results.items()}
    first = next(iter(values.values()))
    rows = [(name, f"{value:.1f}", f"{value - first:+.1f}") for name, value in values.items()]
    table(("student", f"{measure.name}, %", "against the first"), rows)


def answer(instances: Sequence[Mapping[str, Any]]) -> None:
    """What an endpoint found on one image."""
    rows = [(one["class"], f"{one['score']:.2f}", f"{one['area']} px") for one in instances]
    table(("object", "score", "area"), rows)


def evaluation(result: InstanceResult | IouResult | RecallResult) -> None:
    """AP, mIoU of label maps, or recall of masks without a class, in percent."""
    if isinstance(result, RecallResult):
        table(("", "%"), [("recall of the true objects (AR@1000)", _percent(result.recall))])
        return
    if isinstance(result, IouResult):
        _shares(result, ("miou", "accuracy", "coverage"))
        return
    _shares(result.coco, metric_names.AP_FIGURES)
    if result.cityscapes is not None:
        _shares(result.cityscapes, ("ap", "ap50"), "by cityscapesScripts")


def _shares(result: IouResult | ApResult | CityscapesApResult, names: Sequence[str], title: str = "") -> None:
    """Print figures and those of each class, in percent."""
    rows = [(name, _percent(getattr(result, name))) for name in names]
    table((title, "%"), [*rows, *((f"  {name}", _percent(value)) for name, value in result.per_class.items())])


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


def label_summary(summary: Summary) -> None:
    """The end of a label run."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _label_lines(summary):
        table.add_row(name, value)
    out.print(table, highlight=False)
    tallies(summary.tallies)
    out.print(f"store: {summary.store}", highlight=False, soft_wrap=True)


def tallies(named: Mapping[str, Tally]) -> None:
    """What was read, by what it was read for: used, left out and why."""
    for name, tally in named.items():
        for line in tally_lines(name, tally):
            out.print(line, highlight=False, markup=False, soft_wrap=True)


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
    tallies({"export": summary.tally, "corrections": summary.corrections})


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
