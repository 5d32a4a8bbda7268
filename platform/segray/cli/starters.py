"""The starter config of each job: what of it is chosen by hand. Its keys and comments come from the config classes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Final

from segray import job_configs
from segray.config import base
from segray.config.model_kinds import STUDENT_CLASSES
from segray.config.text.starter import starter, tables
from segray.methods import METHODS, settings_class

CHOSEN: Final[Mapping[str, Mapping[str, Any]]] = {
    "label": {"masks.mode": "fast", "masks.pred_iou_thresh": 0.3, "masks.stability_score_thresh": 0.5},
    "prompt": {"source.kind": "coco"},
    "predict": {"student.uri": "out/runs/promoted/NAME.json"},
    "train": {
        "data.labeled.kind": "coco",
        "data.labeled.annotations": "labeled.json",
        "data.validation.kind": "coco",
        "data.validation.annotations": "validation.json",
    },
    "evaluate": {"student.uri": "out/runs/RUN/best", "data.kind": "coco"},
    "serve": {"student.uri": "out/runs/promoted/NAME.json"},
}
"""Values of a job by dotted path, where the first kind of a table or a default is not what most people begin with."""
NOTES: Final[Mapping[str, str]] = {
    "label": "pred_iou_thresh and stability_score_thresh are for sam-nano, which is less sure of itself than others."
    " Remove both lines for another SAM.",
}
FIRST_METHOD: Final = next(iter(METHODS))


def starter_config(job: str, method: str | None = None) -> str:
    """Return the starter config of a job as TOML; of a train job with a method, by default the first of the table."""
    cls = job_configs.JOBS[job]
    chosen = {**CHOSEN.get(job, {}), **(_method(method or FIRST_METHOD) if job == "train" else {})}
    return f"{_head(job, cls)}\n{starter(cls, chosen)}"


def _method(name: str) -> Mapping[str, Any]:
    """Choose a method, the first student that it trains, and unlabeled images where it learns from them."""
    cls = settings_class(name)
    runs = base.build(cls, tables(cls, {}), name).batches()
    student = next(one.kind for one in STUDENT_CLASSES if issubclass(one, cls.trains))
    unlabeled = {"data.unlabeled.kind": "folder"} if any(run.group is not None for run in runs) else {}
    return {"method.kind": name, "student.kind": student, **unlabeled}


def _head(job: str, cls: type) -> str:
    command = "label" if job in job_configs.LABEL_JOBS else job
    says = (cls.__doc__ or job).strip().splitlines()[0].partition(": `segray")[0].rstrip(".")
    lines = [
        f"{says}.",
        f"`segray check FILE` lists what is wrong with this file, `segray {command} FILE` runs it.",
        'A line such as "#seed = 0" shows a default: to change it, remove the "#". `segray config show FILE` prints all'
        " keys.",
        *([NOTES[job]] if job in NOTES else []),
    ]
    wrapped = [part for line in lines for part in textwrap.wrap(line, 118, break_on_hyphens=False)]
    return "".join(f"# {line}\n" for line in wrapped)
