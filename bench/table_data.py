"""What the tables are computed on: data, student, views, schedule; the same for all rows of a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segray.config.sources import CocoSource
from segray.data.rows import LabeledRow
from segray.data.sources import open_source
from segray.data.store import Store
from segray.demo import training
from segray.demo.coco import write_world

Prepare = Callable[..., dict[str, Any]]
"""(folder, seed, tuning) -> the `data` table of a config."""


@dataclass(frozen=True)
class Task:
    """A table's ground."""

    title: str
    prepare: Prepare
    student: Mapping[str, Any]
    view: Mapping[str, Any]
    schedule: Mapping[str, Any]
    rates: str
    """Which table's tuning cells say the rates."""


def family_b(folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
    """400 scenes, a tenth of them labeled by the seed's split; 100 others to measure on, 60 yet others to tune on."""
    train = write_world(folder / "b-train", "b", 400, seed=50_000)
    measured = ("b-tune", 60, 65_000) if tuning else ("b-val", 100, 60_000)
    val = write_world(folder / measured[0], "b", measured[1], seed=measured[2])
    return training.shares(folder / f"b-splits-{seed}", train.parent / "images", train, 0.1, seed) | {
        "validation": training.coco(val.parent / "images", val)
    }


def nuclei(folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
    """A twentieth of train.json labeled by the seed's split; val.json to measure on."""
    source = Path("../shared/data/nuclei")
    if tuning:
        raise SystemExit("nuclei takes the rates that family B was tuned to")
    return training.shares(folder / f"nuclei-splits-{seed}", source / "images", source / "train.json", 0.05, seed) | {
        "validation": training.coco(source / "images", source / "val.json")
    }


def true_masks(folder: Path, unlabeled: Mapping[str, str]) -> str:
    """A store of the true masks of these images, as a perfect SAM's automatic ones would be; returns where it lies."""
    source = open_source(CocoSource(uri=unlabeled["uri"], annotations=unlabeled["annotations"]))
    store = Store.create(str(folder), "truth", {"source": unlabeled["annotations"]})
    rows = [
        LabeledRow(image=row, instances=source.instances(row.image_id), seconds=0.0)
        for row in store.missing(source.rows())
    ]
    if rows:
        store.write_part(rows)
    return store.uri


DATA: dict[str, Task] = {
    "family-b": Task(
        title="Procedural family B, 40 of 400 scenes labeled, 128 px",
        prepare=family_b,
        student=training.STUDENT,
        view=training.VIEW,
        schedule={**training.SCHEDULE, "steps": 400},
        rates="family-b",
    ),
    "nuclei": Task(
        title="nuclei, 21 of 424 images labeled, crops of 128 px",
        prepare=nuclei,
        student={
            **training.STUDENT,
            "num_queries": 60,
            "predict": {"top_k": 400, "side": 128, "tiles": {"size": 128, "overlap": 32}, "score_threshold": 0.05},
        },
        view={"canvas_hw": [128, 128], "unit": "image", "min_scale": 0.8, "max_scale": 1.25},
        schedule={**training.SCHEDULE, "steps": 400},
        rates="family-b",
    ),
}
