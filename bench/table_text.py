"""A table's lines as Markdown: means, spreads, paired differences, how often components acted."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

from bench.table_data import Task
from segray import metric_names
from segray.methods import component_counts as counts
from segray.metric_names import part

Line = Mapping[str, Any]
Column = tuple[str, Callable[[Sequence[Line]], str]]
"""A heading, and what stands below it for a row's lines, one per seed."""


class Rate(NamedTuple):
    """A row's learning rate."""

    value: float
    tuned: bool
    """All were tried on the tuning images; else it is the first of them."""

    def __str__(self) -> str:
        return f"{self.value:g}" + ("" if self.tuned else " (not tuned)")


ACTIONS = (
    counts.LABELS_PER_IMAGE,
    counts.IMAGES_LABELED,
    counts.MASKS_REPLACED,
    counts.IMAGES_REFINED,
    counts.IOU_WITH_TEACHER,
    counts.PASTED_PER_IMAGE,
    counts.IMAGES_PASTED_INTO,
    counts.TEACHER_DISTANCE,
    counts.PIXELS_TAUGHT,
    counts.PIXELS_BY_ZERO_SHOT,
    counts.VIEWS_MIXED,
    counts.TRUST,
)
"""How often a method's components acted, means over the run."""
LEAST_ACTED = 0.05
"""A component that acted on a smaller share does not count as tried."""


def text(task: Task, lines: Sequence[Line], rates: Mapping[str, Rate], *, chance: tuple[str, float]) -> str:
    """The table; seeds below 100 only, each row at its own rate; `chance` is a row without a training."""
    rows = {name: {line["seed"]: line for line in lines if _counts(line, name, rates[name])} for name in task.rows}
    columns = COLUMNS[task.metric]
    heads = ["row", "seeds", "rate", *(head for head, _ in columns[:2]), "against", "difference", "same sign"]
    heads += [head for head, _ in columns[2:]]
    out = [
        f"**{task.title}**, {task.schedule['steps']} student updates; {NAMES[task.metric]} of the last student in %,",
        "mean ± standard deviation over seeds; differences paired by seed, ± 2 standard errors.",
        "",
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
    ]
    out.append(f"| {chance[0]} | - | - | {100 * chance[1]:.1f} |" + " |" * (len(heads) - 4))
    return "\n".join(out + [_row(task, name, rows, rates[name]) for name, found in rows.items() if found])


def _counts(line: Line, name: str, rate: Rate) -> bool:
    return bool(line["row"] == name and line["seed"] < 100 and line["rate"] == rate.value)


def _row(task: Task, name: str, rows: Mapping[str, Mapping[int, Line]], rate: Rate) -> str:
    row, found = task.rows[name], rows[name]
    base = rows[row.base] if row.base else {}
    gains = [100 * (found[seed][task.metric] - base[seed][task.metric]) for seed in sorted(found.keys() & base.keys())]
    same = "" if len(gains) < 2 else ("yes" if min(gains) > 0 or max(gains) < 0 else "no")
    first, second, *others = (tell(list(found.values())) for _, tell in COLUMNS[task.metric])
    cells = [row.title, str(len(found)), str(rate), first, second]
    return "| " + " | ".join([*cells, row.base or "", _error(gains), same, *others]) + " |"


def _spread(name: str) -> Callable[[Sequence[Line]], str]:
    """A figure in %."""

    def tell(lines: Sequence[Line]) -> str:
        values = [100 * line["figures"][name] for line in lines]
        return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"

    return tell


def _figure(name: str) -> Callable[[Sequence[Line]], str]:
    """A figure in %, where the row has it."""
    return lambda lines: _known([line["figures"].get(name) for line in lines], 100)


def _change(name: str) -> Callable[[Sequence[Line]], str]:
    """A figure of pseudo-labels before and after refinement."""
    before, after = part(metric_names.TEACHER_LABELS, name), part(metric_names.REFINED_LABELS, name)
    return lambda lines: f"{_figure(before)(lines)} → {_figure(after)(lines)}"


def _amount(name: str) -> Callable[[Sequence[Line]], str]:
    return lambda lines: _known([line["acted"].get(name) for line in lines], 1)


def _share(name: str) -> Callable[[Sequence[Line]], str]:
    """In %, and a mark where it is too small to say anything of the component; "-" where the method has no such."""

    def tell(lines: Sequence[Line]) -> str:
        known = [line["acted"][name] for line in lines if line["acted"].get(name) is not None]
        if not known:
            return "-"
        return f"{100 * mean(known):.1f}" + ("" if mean(known) >= LEAST_ACTED else " (not tried)")

    return tell


def _error(gains: Sequence[float]) -> str:
    if not gains:
        return ""
    if len(gains) == 1:
        return f"{gains[0]:+.1f}"
    return f"{mean(gains):+.1f} ± {2 * stdev(gains) / len(gains) ** 0.5:.1f}"


def _known(values: Sequence[float | None], factor: float) -> str:
    known = [factor * value for value in values if value is not None]
    return f"{mean(known):.2g}" if known and max(known) < 1 else f"{mean(known):.1f}" if known else "-"


NAMES = {metric_names.AP: "AP", metric_names.MIOU: "mIoU"}
COLUMNS: Mapping[str, Sequence[Column]] = {
    metric_names.AP: (
        ("AP", _spread(metric_names.AP)),
        ("AP50", _spread(metric_names.AP50)),
        ("labels/image", _amount(counts.LABELS_PER_IMAGE)),
        ("precision", _figure(part(metric_names.REFINED_LABELS, metric_names.PRECISION))),
        ("matched IoU before → after", _change(metric_names.MATCHED_IOU)),
        ("images refined", _share(counts.IMAGES_REFINED)),
        ("images pasted into", _share(counts.IMAGES_PASTED_INTO)),
        ("teacher's distance", _amount(counts.TEACHER_DISTANCE)),
    ),
    metric_names.MIOU: (
        ("mIoU", _spread(metric_names.MIOU)),
        ("pixel accuracy", _spread(metric_names.PIXEL_ACCURACY)),
        ("pixels taught", _share(counts.PIXELS_TAUGHT)),
        ("label mIoU", _figure(part(metric_names.LABEL_MAPS, metric_names.MIOU))),
        ("label coverage", _figure(part(metric_names.LABEL_MAPS, metric_names.COVERAGE))),
        ("pixels with zero-shot labels", _share(counts.PIXELS_BY_ZERO_SHOT)),
        ("views mixed", _share(counts.VIEWS_MIXED)),
        ("teacher's distance", _amount(counts.TEACHER_DISTANCE)),
    ),
}
"""By metric; the first two stand before the differences."""
