"""The report of several runs side by side: how much better one is than another, in figures and to the eye.

Knows what runs leave in their folders; knows no method: runs are called as the caller calls them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from segray import metric_names
from segray.formats.output import atomic_file
from segray.pages import overlay
from segray.pages.curves import curves
from segray.pages.page import plain, render
from segray.training.reports.headline_metric import HeadlineMetric, headline_metric
from segray.training.reports.panels import Panel, read_panels
from segray.training.reports.pictures import PanelScore, panel_card, total
from segray.training.reports.report import TEMPLATES, class_rows, percent, row, share_chart
from segray.training.runs.catalog import Run, leaves
from segray.training.runs.metrics import read_metrics, series


@dataclass(frozen=True, kw_only=True)
class Side:
    """One run in the comparison."""

    title: str
    value: float | None
    """What its best student reached."""
    gain: float | None
    """That minus what the first run's did; None for the first."""
    score: PanelScore | None
    """Of what its last student finds in the pictures."""


def compare_report(
    runs: Mapping[str, Run], out: Path, *, title: str = "Comparison", created: datetime | None = None
) -> None:
    """Write the comparison, replacing one that is there.

    Args:
        runs: by the name that each is to have in it, or its folder's, which is shortened; the first is what the
            others are compared with.
        out: the HTML file.
        title: of the page.
        created: when; now where not given.

    Raises:
        ValueError: fewer than two runs.
        SourceError: a run's folder cannot be read.
    """
    if len(runs) < 2:
        raise ValueError(f"at least two runs are compared, got {list(runs)}")
    runs = _called(runs)
    first = next(iter(runs.values()))
    classes = first.record.get("classes", [])
    lines = {name: read_metrics(run.folder.uri) for name, run in runs.items()}
    evaluate = {name: series(one, "evaluate") for name, one in lines.items()}
    train = {name: series(one, "train") for name, one in lines.items()}
    measure = headline_metric(_best(first) or next(iter(evaluate.values())))
    cards = [panel_card(panel, classes, maps=measure.maps) for panel in side_by_side(runs)]
    sides = _sides(runs, measure, [total(cards, index) for index in range(1, len(runs) + 1)] if cards else [])
    page = render(
        TEMPLATES,
        "comparison.html.j2",
        title=title,
        created=created or datetime.now(UTC),
        sides=sides,
        summary=_summary(sides),
        measure=measure,
        rows=[row(name, _best(run), measure) for name, run in runs.items()],
        class_rows=class_rows([run.end or {} for run in runs.values()], classes, measure),
        cards=cards,
        legend=overlay.class_tones(classes, maps=measure.maps, unknown=measure.maps),
        percent=percent,
        charts=[
            *(
                share_chart({name: one.get(figure, []) for name, one in evaluate.items()}, measure.names[figure])
                for figure in measure.curves[:2]
            ),
            curves({name: one.get(metric_names.LOSS, []) for name, one in train.items()}, title="Loss", tell=plain),
        ],
        differences=_differences(list(runs.values())),
        runs=runs,
    )
    with atomic_file(out, overwrite=True) as file:
        file.write(page.encode(errors="replace"))


def _called(runs: Mapping[str, Run]) -> dict[str, Run]:
    """The runs by name, a folder's shortened to method and run, with its fingerprint where that is not one run only."""
    short = {name: _short(run) if name == run.name else name for name, run in runs.items()}
    number = Counter(short.values())
    return {one if number[one] == 1 else f"{one} {name.rpartition('-')[2]}": runs[name] for name, one in short.items()}


def _short(run: Run) -> str:
    words = [run.record.get(part) for part in ("method", "run")]
    return " ".join(str(word) for word in words if word) or run.name


def side_by_side(runs: Mapping[str, Run]) -> list[Panel]:
    """Images that all runs show: the truth, and what each run's student (its last column) finds."""
    shown = [{panel.image_id: panel for panel in read_panels(run.folder.uri)} for run in runs.values()]
    found = []
    for image_id, panel in shown[0].items():
        own = [one.get(image_id) for one in shown]
        alike = [one for one in own if one is not None and one.pixels.shape == panel.pixels.shape]
        if len(alike) == len(runs):
            students = tuple((name, one.columns[-1][1]) for name, one in zip(runs, alike, strict=True))
            found.append(replace(panel, columns=(("Truth", panel.columns[0][1]), *students)))
    return found


def _sides(runs: Mapping[str, Run], measure: HeadlineMetric, scores: Sequence[PanelScore]) -> list[Side]:
    values = [_best(run).get(measure.key) for run in runs.values()]
    return [
        Side(
            title=name,
            value=value,
            gain=value - values[0] if index and value is not None and values[0] is not None else None,
            score=scores[index] if scores else None,
        )
        for index, (name, value) in enumerate(zip(runs, values, strict=True))
    ]


def _summary(sides: Sequence[Side]) -> str:
    found = [side.score.sentence(side.title) for side in sides if side.score is not None]
    shown = "Shown as training sees them: cut or scaled to the canvas, grey where an image does not fill it."
    return f"Of these images, {'; '.join(found)}. {shown} Point at a picture to see the image alone."


def _best(run: Run) -> Mapping[str, float]:
    end = run.end or {}
    return end.get("best") or end.get("last") or {}


def _differences(runs: Sequence[Run]) -> list[tuple[str, tuple[str, ...]]]:
    """What decides the results and is not the same in all: dotted path, a value per run."""
    contents = [dict(leaves(run.record.get("content", {}))) for run in runs]
    paths = dict.fromkeys(path for content in contents for path in content)
    values = {path: tuple(str(content.get(path, "–")) for content in contents) for path in paths}
    return [(path, found) for path, found in values.items() if len(set(found)) > 1]
