"""What the tables are computed on: data, student, views, schedule; the same for all rows of a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segray.config.sources import CocoSource
from segray.data.splits import Splitter, write_shares
from segray.demo.coco import write_world

Prepare = Callable[..., dict[str, Any]]
"""(folder, seed, tuning) -> the `data` table of a config."""

NANO_STUDENT = {
    "num_queries": 24,
    "hidden_dim": 128,
    "mask_feature_size": 64,
    "num_heads": 4,
    "pixel_decoder_layers": 2,
    "pixel_decoder_feedforward": 192,
    "decoder_layers": 3,
    "decoder_feedforward": 192,
    "num_points": 512,
    "predict": {"top_k": 50, "side": 128},
}


@dataclass(frozen=True)
class Task:
    """A table's ground."""

    title: str
    prepare: Prepare
    student: Mapping[str, Any]
    view: Mapping[str, Any]
    schedule: Mapping[str, Any]
    ema: Mapping[str, Any]


def _coco(images: Path, annotations: Path) -> dict[str, str]:
    return {"kind": "coco", "uri": str(images), "annotations": str(annotations)}


def family_b(folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
    """400 scenes, a tenth of them labeled by the seed's split; 100 others to measure on, 60 yet others to tune on."""
    train = write_world(folder / "b-train", "b", 400, seed=50_000)
    measured = ("b-tune", 60, 65_000) if tuning else ("b-val", 100, 60_000)
    val = write_world(folder / measured[0], "b", measured[1], seed=measured[2])
    return _halves(folder / f"b-splits-{seed}", train.parent / "images", train, 0.1, seed) | {
        "validation": _coco(val.parent / "images", val)
    }


def nuclei(folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
    """A twentieth of train.json labeled by the seed's split; val.json to measure on, its first half to tune on."""
    source = Path("../shared/data/nuclei")
    if tuning:
        raise SystemExit("nuclei takes the rates that family B was tuned to")
    return _halves(folder / f"nuclei-splits-{seed}", source / "images", source / "train.json", 0.05, seed) | {
        "validation": _coco(source / "images", source / "val.json")
    }


def _halves(folder: Path, images: Path, annotations: Path, share: float, seed: int) -> dict[str, Any]:
    """Labeled: the split's share. Unlabeled: all training images, as the papers have it; their masks only measure."""
    splitter = Splitter(CocoSource(uri=str(images), annotations=str(annotations)), seed)
    write_shares(splitter, [share], str(folder))
    everything = _coco(images, annotations)
    return {
        "labeled": _coco(images, folder / f"labeled-{share:g}.json"),
        "unlabeled": everything,
        "hidden": everything,
    }


_SCHEDULE = {"labeled_batch": 8, "unlabeled_batch": 8, "backbone_factor": 0.3, "clip_norm": 1.0, "warmup": 0.05}

DATA: dict[str, Task] = {
    "family-b": Task(
        title="Procedural family B, 40 of 400 scenes labeled, 128 px",
        prepare=family_b,
        student=NANO_STUDENT,
        view={"canvas_hw": [128, 128], "min_scale": 0.8, "max_scale": 1.5},
        schedule={**_SCHEDULE, "steps": 800},
        ema={"half_life": 30},
    ),
    "nuclei": Task(
        title="nuclei, 21 of 424 images labeled, crops of 128 px",
        prepare=nuclei,
        student={
            **NANO_STUDENT,
            "num_queries": 60,
            "predict": {"top_k": 400, "side": 256, "tiles": {"size": 256, "overlap": 64}, "score_threshold": 0.05},
        },
        view={"canvas_hw": [128, 128], "min_scale": 2.0, "max_scale": 3.0},
        schedule={**_SCHEDULE, "steps": 400},
        ema={"half_life": 30},
    ),
}
