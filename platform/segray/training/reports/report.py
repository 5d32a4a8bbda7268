"""The report of one run: one HTML file that needs nothing else, from what the run left in its folder.

Knows the figures that `segray.metric_names` names; all others are drawn under their own names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segray import metric_names
from segray.formats.output import atomic_file
from segray.pages import overlay
from segray.pages.curves import Curves, Points, curves
from segray.pages.page import flattened, plain, render
from segray.training.reports.headline_metric import HeadlineMetric, headline_metric
from segray.training.reports.panels import Panel, read_panels
from segray.training.reports.pictures import panel_card
from segray.training.runs.catalog import Run, ancestors
from segray.training.runs.metrics import read_metrics, series

TEMPLATES = Path(__file__).parent / "templates"

_LABEL_NAMES = {
    metric_names.PRECISION: "Precision",
    metric_names.RECALL: "Recall",
    metric_names.MATCHED_IOU: "Matched IoU",
    metric_names.BEST_IOU: "Best IoU",
    metric_names.CLASS_ACCURACY: "Right class",
}
_MAP_NAMES = {
    metric_names.MIOU: "mIoU",
    metric_names.PIXEL_ACCURACY: "Right pixels",
    metric_names.COVERAGE: "Labeled pixels",
}
_LOSS_PARTS = metric_names.part(metric_names.LOSS, "")
_LABELS = (metric_names.TEACHER_LABELS, metric_names.REFINED_LABELS)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table: a name and formatted values."""

    name: str
    values: tuple[str, ...]
    share: float = 0.0
    """Length of its bar, in [0, 1]."""


def write_report(run: Run, out: Path, *, created: datetime | None = None) -> None:
    """Write the report of a run, finished or not, replacing one that is there.

    Raises:
        SourceError: the run's folder cannot be read.
    """
    lines = read_metrics(run.folder.uri)
    train, evaluate = series(lines, "train"), series(lines, "evaluate")
    classes, measure = run.record.get("classes", []), headline_metric(_last(run) or evaluate)
    page = render(
        TEMPLATES,
        "run.html.j2",
        run=run,
        data=_data(run),
        created=created or datetime.now(UTC),
        step=lines[-1]["step"] if lines else 0,
        steps_planned=_planned(run),
        measure=measure,
        rows=_rows(run, measure),
        class_rows=class_rows([run.end or {}], classes, measure),
        label_rows=_label_rows(run),
        map_rows=_map_rows(run),
        cards=[panel_card(_headed(panel), classes, maps=measure.maps) for panel in read_panels(run.folder.uri)],
        classes=classes,
        legend=overlay.class_tones(classes, maps=measure.maps, unknown=measure.maps),
        percent=percent,
        quality_charts=[
            share_chart({measure.names[n]: evaluate[n] for n in measure.curves if n in evaluate}, measure.title)
        ],
        loss_charts=_loss_charts(train),
        label_charts=_label_charts(evaluate) + _map_charts(evaluate),
        part_charts=[
            curves({_words(name): points}, title=_words(name), tell=plain)
            for name, points in sorted(train.items())
            if name != metric_names.LOSS and not name.startswith(_LOSS_PARTS)
        ],
        ancestors=ancestors(run.folder.runs, run),
        settings=list(flattened(run.record.get("config", {}))),
    )
    with atomic_file(out, overwrite=True) as file:
        file.write(page.encode(errors="replace"))


def percent(value: float | None) -> str:
    """A share as papers print AP: 31.2; a dash where there is none."""
    return "–" if value is None or value != value else f"{100 * value:.1f}"  # noqa: PLR0124 - NaN


def share_chart(named: Mapping[str, Points], title: str) -> Curves:
    """Shares over steps, in per cent."""
    return curves(
        {name: [(x, 100 * y) for x, y in points] for name, points in named.items()},
        title=title,
        tell=lambda value: plain(round(value, 1)),
        from_zero=True,
    )


def row(name: str, reached: Mapping[str, float], measure: HeadlineMetric, network: str = "") -> Row:
    """Return what a network reached: the student, or the one beside it of that name."""
    values = tuple(percent(reached.get(metric_names.of_network(network, one))) for one in measure.names)
    return Row(name=name, values=values, share=reached.get(metric_names.of_network(network, measure.key)) or 0.0)


def _rows(run: Run, measure: HeadlineMetric) -> list[Row]:
    """The best student, the last one, and other networks that were measured at the end."""
    if run.end is None:
        return []
    key, best, last = measure.key, run.end.get("best") or {}, _last(run)
    reported = []
    if run.network == "teacher" and metric_names.of_network("teacher", key) in best:
        reported += [(f"Best teacher, step {best['step']:,.0f}", "teacher", best)]
    if run.network == "student" and key in best:
        reported += [(f"Best student, step {best['step']:,.0f}", "", best)]
    reported += [(f"Last student, step {run.end['step']:,.0f}", "", last)] if key in last else []
    others = [name.removesuffix(f"_{key}") for name in last if name.endswith(f"_{key}")]
    reported += [(f"{_words(other)} at the end", other, last) for other in others]
    rows = [row(name, reached, measure, network) for name, network, reached in reported]
    return rows + _cityscapes_rows({"Best student": best, "Last student": last}, measure)


def _cityscapes_rows(ends: Mapping[str, Mapping[str, float]], measure: HeadlineMetric) -> list[Row]:
    """Show AP by the protocol of cityscapesScripts, where it was measured."""
    names = {metric_names.AP: metric_names.CITYSCAPES_AP, metric_names.AP50: metric_names.CITYSCAPES_AP50}
    return [
        Row(
            name=f"{end}, by cityscapesScripts",
            values=tuple(percent(reached.get(names.get(one, ""))) for one in measure.names),
            share=reached[metric_names.CITYSCAPES_AP],
        )
        for end, reached in ends.items()
        if metric_names.CITYSCAPES_AP in reached
    ]


def class_rows(ends: Sequence[Mapping[str, Any]], classes: Sequence[str], measure: HeadlineMetric) -> list[Row]:
    """Each class in the best students, one value per end, highest of the last first."""
    best = [end.get("best") or end.get("last") or {} for end in ends]
    values = {name: [one.get(metric_names.part(measure.of_class, name)) for one in best] for name in classes}
    known = {name: found for name, found in values.items() if any(value is not None for value in found)}
    order = sorted(known, key=lambda name: -(known[name][-1] or 0.0))
    return [
        Row(name=name, values=tuple(percent(value) for value in known[name]), share=known[name][-1] or 0.0)
        for name in order
    ]


def _last(run: Run) -> Mapping[str, float]:
    return (run.end or {}).get("last") or {}


def _data(run: Run) -> dict[str, Mapping[str, Any]]:
    """What the record says of the images, by role; without the unlabeled ones where the run did not learn from them."""
    unused = {role for role, used in run.record.get("content", {}).items() if role == "unlabeled" and used is None}
    return {role: one for role, one in run.record.get("data", {}).items() if role not in unused}


def _headed(panel: Panel) -> Panel:
    return replace(panel, columns=tuple((_words(title), found) for title, found in panel.columns))


def _planned(run: Run) -> int | None:
    steps = run.record.get("content", {}).get("schedule", {}).get("steps")
    return steps if isinstance(steps, int) else None


def _label_rows(run: Run) -> list[Row]:
    last, rows = _last(run), []
    for name, words in _LABEL_NAMES.items():
        before, after = (last.get(metric_names.part(group, name)) for group in _LABELS)
        if before is not None and after is not None:
            values = (percent(before), percent(after), f"{100 * (after - before):+.1f}")
            rows.append(Row(name=words, values=values, share=after))
    return rows


def _map_rows(run: Run) -> list[Row]:
    """Of the label maps that unlabeled images get."""
    found = {
        words: _last(run).get(metric_names.part(metric_names.LABEL_MAPS, name)) for name, words in _MAP_NAMES.items()
    }
    return [Row(name=words, values=(percent(one),), share=one) for words, one in found.items() if one is not None]


def _loss_charts(train: Mapping[str, Points]) -> list[Curves]:
    """The whole loss, and its parts by what stands before their last `/`."""
    groups: dict[str, dict[str, Points]] = {}
    for name, points in train.items():
        if name.startswith(_LOSS_PARTS):
            group, _, part = name.removeprefix(_LOSS_PARTS).rpartition("/")
            groups.setdefault(group, {})[_words(part)] = points
    whole = {"loss": train[metric_names.LOSS]} if metric_names.LOSS in train else {}
    parts = [
        curves(named, title=f"{_words(group)} loss by part" if group else "Loss by part", tell=plain)
        for group, named in groups.items()
    ]
    return [curves(whole, title="Loss", tell=plain), *parts]


def _label_charts(evaluate: Mapping[str, Points]) -> list[Curves]:
    found = []
    for name, words in _LABEL_NAMES.items():
        before, after = (evaluate.get(metric_names.part(group, name), []) for group in _LABELS)
        if len(before) > 1 and name in (metric_names.PRECISION, metric_names.RECALL, metric_names.MATCHED_IOU):
            found.append(share_chart({"teacher": before, "refined": after}, words))
    return found


def _map_charts(evaluate: Mapping[str, Points]) -> list[Curves]:
    series = {
        words: evaluate.get(metric_names.part(metric_names.LABEL_MAPS, name), []) for name, words in _MAP_NAMES.items()
    }
    return [share_chart({words: points}, words) for words, points in series.items() if len(points) > 1]


def _words(name: str) -> str:
    """A figure's name as a heading: `acted/labels_kept` becomes Labels kept."""
    text = name.rpartition("/")[2].replace("_", " ")
    return text[:1].upper() + text[1:]
