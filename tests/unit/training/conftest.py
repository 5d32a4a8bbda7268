"""Run folders as a training leaves them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segray.masks.instances import Instances
from segray.masks.semantic import from_map
from segray.storage import files
from segray.training.reports.panels import Panel, write_panels
from segray.training.runs.catalog import Run, show_run
from segray.training.runs.metrics import MetricsLog

LeaveRun = Callable[..., Run]
"""`leave_run(name, ap=0.25, found=2, classes=("cell", "dot"), **record)`: AP None leaves a run unfinished.

`miou=0.5` leaves one of label maps.
"""


def panel(image_id: str, found: int) -> Panel:
    """Three true squares, of which the student finds the first `found`, and a wrong one."""
    masks = np.zeros((4, 64, 96), dtype=bool)
    for index, mask in enumerate(masks):
        mask[10:30, 24 * index : 24 * index + 16] = True
    true = Instances.from_masks(masks[:3], provenance="gt", classes=[0, 0, 1])
    student = Instances.from_masks(masks, provenance="student", classes=[0, 0, 1, 1])
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    chosen = student.filter(np.array([*range(found), 3]))
    return Panel(image_id=image_id, pixels=pixels, columns=(("truth", true), ("student", chosen)))


def map_panel(image_id: str, right: int) -> Panel:
    """A map of background and cells, of which the upper `right` rows of 64 are right, the rest unlabeled."""
    true = np.zeros((64, 96), dtype=np.uint8)
    true[:, 48:] = 1
    found = true.copy()
    found[right:] = 255
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    columns = (("truth", from_map(true, provenance="gt")), ("student", from_map(found, provenance="student")))
    return Panel(image_id=image_id, pixels=pixels, columns=columns)


@pytest.fixture
def leave_run(tmp_path: Path) -> LeaveRun:
    """Leaves a run's folder and gives the run."""
    runs = str(tmp_path / "runs")

    def leave(
        name: str,
        *,
        ap: float | None = 0.25,
        miou: float | None = None,
        found: int = 2,
        classes: tuple[str, ...] = ("cell", "dot"),
        images: tuple[str, ...] = ("a.png", "b.png"),
        **record: object,
    ) -> Run:
        uri = files.join(runs, name)
        about = {"name": name, "method": name, "run": "student", "classes": classes, "created": "2026-03-01"} | record
        files.write_bytes_atomic(files.join(uri, "run.json"), json.dumps(about).encode())
        log = MetricsLog(uri, resume_step=0)
        for step in range(1, 301):
            log.write("train", step, {"loss": 30 / step, "loss/labeled/mask": 20 / step, "acted/labels_kept": 2.0})
        if ap is not None:
            last = {"ap": ap, "ap50": 2 * ap, "ap/cell": ap, "ap/dot": ap / 2, "teacher_ap": 0.111}
            last |= {f"labels_{when}/precision": 0.5 + 0.1 * (when == "after") for when in ("before", "after")}
            if miou is not None:
                last = {"miou": miou, "pixel_accuracy": 0.9, "coverage": 1.0, "iou/background": 0.8, "iou/cell": miou}
                last |= {"labels/miou": 0.3, "labels/pixel_accuracy": 0.35, "labels/coverage": 0.4}
            for step in (150, 300):
                log.write("evaluate", step, {name: value * step / 300 for name, value in last.items()})
            end = {"step": 300, "seconds": 75.0, "best": {"step": 300.0, **last}, "last": last}
            files.write_bytes_atomic(files.join(uri, "finished.json"), json.dumps(end).encode())
            make = panel if miou is None else map_panel
            write_panels(uri, [make(image_id, found) for image_id in images])
        return show_run(runs, name)

    return leave
