"""The methods that tables compare: what of a training each row has to itself. Knows configs, no data and no run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from segray.demo import training

Table = Mapping[str, Any]
Stores = Mapping[str, str]
"""Stores of labels by what they hold."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method."""

    title: str
    base: str | None = None
    """The row that it is compared with, seed by seed."""
    method: Callable[[Table, Stores], Table]
    """From the schedule, and stores where it needs one, to a config's `method`."""
    labels: str | None = None
    """The store that takes the place of the labeled images."""
    first: str | None = None
    """Rows of the same one share their first run: two at once would train it twice."""
    until: str | None = None
    """The run to end with; None: all."""


POINTS: Table = training.REFINEMENT
GATED: Table = {**POINTS, "min_teacher_iou": 0.5, "min_predicted_iou": 0.5}
TRUE: Table = {"kind": "cached"}
"""What a perfect SAM would make of the teacher's masks: the true one, where they overlap by half."""
PAPERS: Table = {"target_stride": 4, "unlabeled_weight": 2.0, "ema": {"half_life": 30, "burn_in": 0.5}}
"""Three constants nearer to the papers'; the others stay `training`'s."""
ARP: Table = training.ARP
SD: Table = training.DISTILLATION


def _teacher(title: str, base: str | None = None, *, distillation: Table | None = None) -> Row:
    return _s4m(title, base, distillation=distillation, until="teacher")


def _s4m(
    title: str, base: str | None = None, *, distillation: Table | None = None, until: str | None = None, **student: Any
) -> Row:
    def method(schedule: Table, stores: Stores) -> Table:
        own = {"refinement": None, "arp": None, **training.STUDENT_RUN, **student}
        if own["refinement"] is TRUE:
            own["refinement"] = {**TRUE, "store": stores["truth"]}
        teacher = {"distillation": distillation, "schedule": schedule}
        return {"kind": "s4m", "teacher": teacher, "student": {"schedule": {**schedule, **training.UNLABELED}, **own}}

    return Row(title=title, base=base, method=method, first=f"teacher {distillation}", until=until)


INSTANCES: Mapping[str, Row] = {
    "supervised": _teacher("supervised"),
    "teacher-sd": _teacher("teacher: supervised + SD", "supervised", distillation=SD),
    "gd": _s4m("GuidedDistillation", "supervised"),
    "gd-papers": _s4m("GuidedDistillation, three constants nearer the papers'", "supervised", **PAPERS),
    "gd-pr": _s4m("GuidedDistillation + PR", "gd", refinement=POINTS),
    "gd-arp": _s4m("GuidedDistillation + ARP", "gd", arp=ARP),
    "s4m": _s4m("S4M (SD + PR + ARP)", "gd", distillation=SD, refinement=POINTS, arp=ARP),
    "s4m-true": _s4m("S4M, true masks", "gd", distillation=SD, refinement=TRUE, arp=ARP),
    "gd-pr-gated": _s4m("GuidedDistillation + gated PR", "gd", refinement=GATED),
    "s4m-gated": _s4m("S4M, gated PR", "gd", distillation=SD, refinement=GATED, arp=ARP),
}


def _supervised(title: str, base: str | None = None, *, labels: str | None = None) -> Row:
    return Row(
        title=title,
        base=base,
        method=lambda schedule, _: {"kind": "supervised", "schedule": schedule},
        labels=labels,
    )


def _unimatch(
    title: str, base: str, streams: str, *, zero_shot: str | None = None, use: str = "guide", **own: Any
) -> Row:
    def method(schedule: Table, stores: Stores) -> Table:
        guide = {"zero_shot": {"store": stores[zero_shot], "use": use}, "label_smoothing": 0.1} if zero_shot else {}
        return {**training.UNIMATCH, "streams": streams, "schedule": {**schedule, **training.UNLABELED}, **guide, **own}

    return Row(title=title, base=base, method=method)


SEMANTIC: Mapping[str, Row] = {
    "supervised": _supervised("supervised"),
    "fixmatch": _unimatch("FixMatch, one strong view", "supervised", "fixmatch"),
    "dual": _unimatch("two strong views", "fixmatch", "dual"),
    "v1": _unimatch("UniMatch V1", "fixmatch", "v1"),
    "v2": _unimatch("UniMatch V2", "v1", "v2", ema_half_life=10),
    "v1-zero-shot": _unimatch("V1 + zero-shot labels", "v1", "v1", zero_shot="zero-shot"),
    "v1-fill": _unimatch("V1, zero-shot labels where it is unsure", "v1", "v1", zero_shot="zero-shot", use="fill"),
    "v1-only": _unimatch("V1's views, zero-shot labels alone", "v1", "v1", zero_shot="zero-shot", use="only"),
    "v1-relabel": _unimatch(
        "V1 + zero-shot labels, then a student of its labels", "v1", "v1", zero_shot="zero-shot", use="relabel"
    ),
    "v1-zero-shot-true": _unimatch("V1 + zero-shot labels of true masks", "v1", "v1", zero_shot="zero-shot-true"),
}
"""The papers' order: each step stands on the one before."""

TAGS: Mapping[str, Row] = {
    "cam": _supervised("student on CAM", labels="cam"),
    "sepl-compat": _supervised("student on CAM + SEPL, compat", "cam", labels="sepl-compat"),
    "sepl": _supervised("student on CAM + SEPL", "cam", labels="sepl"),
    "sepl-true": _supervised("student on CAM + SEPL of true masks", "cam", labels="sepl-true"),
}

PHOTOGRAPHS: Mapping[str, Row] = {name: SEMANTIC[name] for name in ("supervised", "fixmatch", "v1", "v2")} | TAGS
"""Without zero-shot labels: clip-nano knows the procedural worlds' words only."""
