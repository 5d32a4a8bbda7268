"""A table's lines as Markdown: means, spreads, paired differences, how often components acted."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from bench.table_data import Task

BASES = {
    "teacher-sd": "supervised",
    "gd": "supervised",
    "gd-papers": "supervised",
    "gd-pr": "gd",
    "s4m": "gd",
    "s4m-true": "gd",
    "gd-pr-gated": "gd",
    "s4m-gated": "gd",
}
"""What each row is compared with, seed by seed."""

Lines = Sequence[Mapping[str, Any]]


def text(task: Task, titles: Mapping[str, str], lines: Lines, rates: Mapping[str, float]) -> str:
    """The table; seeds below 100 only, each row at its own rate."""
    rows = {name: {line["seed"]: line for line in lines if _counts(line, name, rates[name])} for name in titles}
    out = [
        f"**{task.title}**, {task.schedule['steps']} student updates; AP of the last student in %, mean ± standard",
        "deviation over seeds; differences paired by seed, ± 2 standard errors.",
        "",
        "| row | seeds | rate | AP | AP50 | against | difference | same sign | labels/image | precision | matched IoU"
        " before → after | images refined | images pasted into | teacher moved |",
        "|" + "---|" * 14,
    ]
    out += [_row(titles[name], name, found, rows, rates[name]) for name, found in rows.items() if found]
    return "\n".join(out)


def _counts(line: Mapping[str, Any], name: str, rate: float) -> bool:
    return bool(line["row"] == name and line["seed"] < 100 and line["rate"] == rate)


def _row(title: str, name: str, found: Mapping[int, Any], rows: Mapping[str, Mapping[int, Any]], rate: float) -> str:
    base = BASES.get(name)
    shared = sorted(found.keys() & rows[base].keys()) if base else []
    gains = [100 * (found[seed]["ap"] - rows[base][seed]["ap"]) for seed in shared] if base else []
    same = "" if not gains else ("yes" if min(gains) > 0 or max(gains) < 0 else "no")
    figure = {key: [line["figures"].get(key) for line in found.values()] for key in _LABELS}
    acted = {key: [line["acted"].get(key) for line in found.values()] for key in _ACTED}
    cells = [
        title,
        str(len(found)),
        f"{rate:g}",
        _spread([100 * line["ap"] for line in found.values()]),
        _spread([100 * line["figures"]["ap50"] for line in found.values()]),
        base or "",
        _error(gains),
        same,
        _known(acted["labels_per_image"], 1),
        _known(figure["labels_after/precision"], 100),
        f"{_known(figure['labels_before/matched_iou'], 100)} → {_known(figure['labels_after/matched_iou'], 100)}",
        _acted(acted["images_refined"]),
        _acted(acted["images_pasted_into"]),
        _known(acted["teacher_distance"], 1),
    ]
    return "| " + " | ".join(cells) + " |"


_LABELS = ("labels_after/precision", "labels_before/matched_iou", "labels_after/matched_iou")
_ACTED = ("labels_per_image", "images_refined", "images_pasted_into", "teacher_distance")
LEAST_ACTED = 0.05
"""A component that acted on a smaller share of the images does not count as tried."""


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _error(gains: Sequence[float]) -> str:
    if not gains:
        return ""
    if len(gains) == 1:
        return f"{gains[0]:+.1f}"
    return f"{mean(gains):+.1f} ± {2 * stdev(gains) / len(gains) ** 0.5:.1f}"


def _acted(values: Sequence[float | None]) -> str:
    """A share of images in %, and a mark where it is too small to say anything of the component."""
    known = [value for value in values if value is not None]
    if not known or not max(known):
        return "-"
    return f"{100 * mean(known):.1f}" + ("" if mean(known) >= LEAST_ACTED else " (not tried)")


def _known(values: Sequence[float | None], factor: float) -> str:
    known = [factor * value for value in values if value is not None]
    return f"{mean(known):.2g}" if known and max(known) < 1 else f"{mean(known):.1f}" if known else "-"
