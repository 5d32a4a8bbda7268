"""Nano label jobs on the procedural world: what the demo and the tables have in common.

Knows the tables of configs; labels nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from segray.config.base import build
from segray.config.label import ClassifyConfig, LabelConfig
from segray.demo.world import FAMILY_CLASSES
from segray.methods.sepl.config import CamConfig, VoteConfig

Table = Mapping[str, Any]
MASKS: Final[Table] = {
    "mode": "fast",
    "points_per_side": 16,
    "pred_iou_thresh": 0.3,
    "stability_score_thresh": 0.5,
}
"""Thresholds that suit sam-nano, which is surer of nothing than 0.88."""
MATCH: Final[Table] = {"measure": "cosine"}
"""clip-nano learned what is near a phrase and what is not, one phrase at a time, and knows no word for the background:
a softmax over classes would find the nearest one there too."""
TAGGER: Final[Table] = {"steps": 600, "learning_rate": 1e-3}
SCALES: Final = (1.0, 1.5, 2.0)
RULE: Final[Table] = {"max_image_share": 0.25}
"""sam-nano finds whole scenes too; without a cap one of them takes all of an image whose activations are few."""
SETTINGS: Final = (MASKS, MATCH, TAGGER, SCALES, RULE)
"""All of these: what is kept of such jobs is of these settings."""


def masks(source: Table, stores: Path, *, threads: int = 1) -> LabelConfig:
    """Everything that sam-nano finds."""
    workers = {"num_workers": 1, "threads": threads, "images_per_part": 8}
    tables = {"job": "label", "source": source, "stores": str(stores), "masks": MASKS, "workers": workers}
    return build(LabelConfig, tables, "masks of the procedural world")


def zero_shot(found: str, stores: Path, labeled: Table, *, output: str = "map") -> ClassifyConfig:
    """Classes of those masks by clip-nano; the threshold chosen on what is `labeled`."""
    tables = {
        "job": "classify",
        "masks": found,
        "stores": str(stores),
        "vocabulary": {"classes": FAMILY_CLASSES["b"], "templates": ["{}"]},
        "match": MATCH,
        "threshold": {"labeled": labeled},
        "output": output,
        "workers": {"num_workers": 1, "threads": 1},
    }
    return build(ClassifyConfig, tables, "zero-shot labels of the procedural world")


def cam(source: Table, stores: Path, threshold: Table, *, seed: int = 0, steps: int | None = None) -> CamConfig:
    """Class maps of the tags that a COCO source's annotations imply; its masks are not looked at.

    `threshold` is a `maps.threshold` table.
    """
    tables = {
        "job": "cam",
        "source": source,
        "stores": str(stores),
        "tags": {"kind": "coco", "coco": source},
        "tagger": {**TAGGER, "seed": seed} | ({"steps": steps} if steps else {}),
        "taggers": str(stores.parent / "taggers"),
        "maps": {"scales": SCALES, "threshold": threshold},
        "workers": {"num_workers": 1, "threads": 1},
    }
    return build(CamConfig, tables, "class maps of the procedural world")


def vote(found: str, maps: str, stores: Path, rule: Table = RULE) -> VoteConfig:
    """SEPL: those maps put right by those masks."""
    tables = {
        "job": "vote",
        "masks": found,
        "maps": {"kind": "store", "uri": maps},
        "stores": str(stores),
        "rule": rule,
        "workers": {"num_workers": 1, "threads": 1},
    }
    return build(VoteConfig, tables, "voted labels of the procedural world")
