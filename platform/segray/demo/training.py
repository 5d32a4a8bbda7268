"""Nano training on the procedural world: what the demo and the tables have in common.

Knows worlds, splits and the tables of a config; trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from segray.datasets.splits import Splitter, write_shares
from segray.demo.coco import write_world
from segray.formats.coco import CocoSource

STUDENT: Final[dict[str, Any]] = {
    "start": "nano",
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
"""A Mask2Former of 4 M parameters; widths and layers are those of the shipped one that it starts from."""
VIEW: Final[dict[str, Any]] = {"canvas_hw": [128, 128], "min_scale": 0.8, "max_scale": 1.5}
SCHEDULE: Final[dict[str, Any]] = {
    "labeled_batch": 8,
    "learning_rate": 2e-3,
    "backbone_factor": 0.3,
    "clip_norm": 1.0,
    "warmup": 0.05,
}
"""The rate is the best of those tried for each method that was tuned on family B (docs/benchmarks.md)."""
UNLABELED: Final[dict[str, Any]] = {"unlabeled_batch": 8}
"""Added to the schedules of runs that learn from unlabeled images."""
DISTILLATION: Final[dict[str, Any]] = {"num_points": 16}
"""128 points would cost a nano SAM on a CPU several times the student's own step."""
REFINEMENT: Final[dict[str, Any]] = {"kind": "points", "distribution": "softmax"}
"""Of the two distributions the one that makes a nano teacher's labels better (`bench.labels`)."""
ARP: Final[dict[str, Any]] = {"mode": "dynamic", "group": 4}
STUDENT_RUN: Final[dict[str, Any]] = {
    "pseudo_labels": {"score_threshold": 0.6, "max_overlap": 0.5},
    "target_stride": 1,
    "strong": {"hue": 0.02, "grey": 0.0},
    "unlabeled_weight": 1.0,
    "ema": {"half_life": 30, "burn_in": 0.75},
}
"""What of a student's run is not as in the papers, and why.

pseudo_labels: nano students are seldom as sure as 0.7, and name the same object more than once. target_stride: objects
are some 20 px wide, and cells of 4 px would round their outlines away. strong: family B's classes differ in hue by a
sixth of a turn; 0.1, and grey, would turn one into another. unlabeled_weight: 2 is for labels better than those of nano
teachers, of which half are wrong. ema: a half-life of 1,732 steps is a fiftieth of the papers' runs, a tenth of short
ones still averages; half-way through so short a run the student is surer than it is right, and following it then makes
labels worse.
"""
FPN: Final[dict[str, Any]] = {"kind": "fpn", "predict": {"side": 128}}
"""The semantic student, over the same backbone; sees images at the size that it was trained at."""
SEMANTIC_SCHEDULE: Final[dict[str, Any]] = {**SCHEDULE, "learning_rate": 1e-3}
UNIMATCH: Final[dict[str, Any]] = {
    "kind": "unimatch",
    "threshold": 0.5,
    "ramp": 0.6,
    "group": 4,
    "strong": {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.02, "grey": 0.0},
}
"""Chosen on tuning images. threshold: at the papers' 0.95 nano students are sure of the background only. ramp: with all
weight from the start the first wrong labels cost one class or another for good. strong: as of `STUDENT_RUN`.
"""


def coco(images: Path, annotations: Path) -> dict[str, str]:
    """A COCO source's table."""
    return {"kind": "coco", "uri": str(images), "annotations": str(annotations)}


def shares(folder: Path, images: Path, annotations: Path, share: float, seed: int) -> dict[str, Any]:
    """Labeled: a seed's share of the images. Unlabeled: all of them, as the papers have it. Hidden: the masks of those
    that are not labeled, which only measure.
    """
    splitter = Splitter(CocoSource(uri=str(images), annotations=str(annotations)), seed)
    write_shares(splitter, [share], str(folder))
    return {
        "labeled": coco(images, folder / f"labeled-{share:g}.json"),
        "unlabeled": coco(images, annotations),
        "hidden": coco(images, folder / f"hidden-{share:g}.json"),
    }


def family_b(folder: Path, *, train: int, validation: int, share: float, seed: int = 0) -> dict[str, Any]:
    """The `data` table of `train` scenes of family B, a share of them labeled, and of `validation` others."""
    scenes = write_world(folder / "train", "b", train, seed=50_000)
    others = write_world(folder / "val", "b", validation, seed=60_000)
    data = shares(folder / f"splits-{seed}", scenes.parent / "images", scenes, share, seed)
    return {**data, "validation": coco(others.parent / "images", others)}


def methods(steps: int) -> Mapping[str, dict[str, Any]]:
    """The `method` tables that are compared, equal in student updates."""
    schedule = {**SCHEDULE, "steps": steps}
    teacher = {"schedule": schedule, "distillation": DISTILLATION}
    student = {"schedule": {**schedule, **UNLABELED}, "refinement": REFINEMENT, "arp": ARP, **STUDENT_RUN}
    return {
        "Supervised": {"kind": "supervised", "schedule": schedule},
        "S4M": {"kind": "s4m", "teacher": teacher, "student": student},
    }
