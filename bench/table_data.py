"""What the tables are computed on: data, rows, student, views, schedule; and stores of labels where rows need them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.rows import INSTANCES, PHOTOGRAPHS, SEMANTIC, TAGS, Row
from segray import metric_names
from segray.config.label import StageJob
from segray.demo import labeling, training
from segray.demo.coco import write_world
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.jobs.cluster import connected
from segray.jobs.label import label
from segray.masks.instances import Instances
from segray.store import Store
from segray.store.rows import LabeledRow

Table = Mapping[str, Any]


class Prepare(Protocol):
    """Draws and splits what a seed learns from, and labels it: {"data": a config's table, "stores": by name}."""

    def __call__(self, folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
        """What is there already is not made again."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """A table's ground."""

    title: str
    prepare: Prepare
    rows: Mapping[str, Row]
    metric: str
    """Of the last student: ap or miou."""
    student: Table
    view: Table
    schedule: Table
    rates: tuple[float, ...]
    """Learning rates to choose from; the first counts until a row's tuning cells are there."""
    tuned_on: tuple[str, ...]
    """Whose tuning cells say the rates of rows of the same name."""


def family_b(folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
    """400 scenes, a tenth of them labeled by the seed's split; 100 others to measure on, 60 yet others to tune on."""
    train = write_world(folder / "b-train", "b", 400, seed=50_000)
    measured = ("b-tune", 60, 65_000) if tuning else ("b-val", 100, 60_000)
    val = write_world(folder / measured[0], "b", measured[1], seed=measured[2])
    data = training.shares(folder / f"b-splits-{seed}", train.parent / "images", train, 0.1, seed)
    validation = training.coco(val.parent / "images", val)
    return {
        "data": {**data, "validation": validation},
        "stores": {"truth": true_masks(folder / "stores", data["unlabeled"])},
    }


def nuclei(folder: Path, seed: int, *, tuning: bool, share: float) -> dict[str, Any]:
    """A share of train.json labeled by the seed's split; val.json to measure on, some 60 of the others to tune on.

    Those are among the unlabeled ones too, without their masks.
    """
    source = Path("../shared/data/nuclei")
    images = source / "images"
    data = training.shares(folder / f"nuclei-{share:g}-splits-{seed}", images, source / "train.json", share, seed)
    validation = training.coco(images, source / "val.json")
    if tuning:
        others = Path(data["hidden"]["annotations"])
        validation = training.shares(folder / f"nuclei-{share:g}-tune-{seed}", images, others, 0.15, seed)["labeled"]
    return {
        "data": {**data, "validation": validation},
        "stores": {"truth": true_masks(folder / "stores", data["unlabeled"])},
    }


def family_b_zero_shot(folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
    """Family B, and zero-shot labels of all training scenes, of sam-nano's masks and of the true ones.

    Their threshold is chosen on the seed's labeled scenes.
    """
    ground, stores = family_b(folder, seed, tuning=tuning), folder / "stores"
    data = ground["data"]
    with connected():
        found = _labeled(labeling.masks(_named(data["unlabeled"], "b-train"), stores))
        perfect = true_masks(stores, data["unlabeled"], rest=True)
        own = {
            "sam-nano": found,
            "perfect": perfect,
            "zero-shot": _labeled(labeling.zero_shot(found, stores, data["labeled"])),
            "zero-shot-true": _labeled(labeling.zero_shot(perfect, stores, data["labeled"])),
        }
    return {"data": data, "stores": ground["stores"] | own}


def family_b_tags(folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
    """Family B, its classes per image known and no mask: class activations, and SEPL's votes on them.

    The background's threshold is chosen on the seed's labeled scenes; the students learn from class maps alone.
    """
    ground = family_b(folder, seed, tuning=tuning)
    own = _of_tags(folder / "stores", _named(ground["data"]["unlabeled"], "b-train"), ground, seed)
    return {**ground, "stores": ground["stores"] | own}


def coco_free(folder: Path, seed: int, *, tuning: bool) -> dict[str, Any]:
    """186 photographs, 12 classes: seven tenths to train on, a fifth of those labeled; the others to measure on.

    Image-level tags and votes on them as of family B.
    """
    if tuning:
        raise SystemExit("coco-free is too small to tune on: it takes the rates that family B was tuned to")
    images, annotations = Path("../shared/data/coco-free/images"), Path("../shared/data/coco-free/instances_super.json")
    parts = training.shares(folder / "coco-free", images, annotations, 0.7, 0)
    train = Path(parts["labeled"]["annotations"])
    data = training.shares(folder / f"coco-free-splits-{seed}", images, train, 0.2, seed)
    ground = {
        "data": {**data, "validation": parts["hidden"]},
        "stores": {"truth": true_masks(folder / "stores", data["unlabeled"])},
    }
    own = _of_tags(folder / "stores", _named(data["unlabeled"], "coco-free"), ground, seed)
    return {**ground, "stores": ground["stores"] | own}


def _of_tags(stores: Path, source: Table, ground: Table, seed: int) -> dict[str, str]:
    """Stores of class activations, and of SEPL's votes on them; each threshold is the best for what is learned from."""
    labeled = ground["data"]["labeled"]

    def voted(masks: str, rule: Table) -> str:
        voting = {"masks": masks, "rule": rule}
        maps = _labeled(labeling.cam(source, stores, {"labeled": labeled, "voting": voting}, seed=seed))
        return _labeled(labeling.vote(masks, maps, stores, rule))

    with connected():
        found = _labeled(labeling.masks(source, stores))
        perfect = true_masks(stores, ground["data"]["unlabeled"], rest=True)
        return {
            "cam": _labeled(labeling.cam(source, stores, {"labeled": labeled}, seed=seed)),
            "sepl-compat": voted(found, {"compat": True}),
            "sepl": voted(found, labeling.RULE),
            "sepl-true": voted(perfect, labeling.RULE),
        }


def _named(source: Table, name: str) -> Table:
    """By a name instead of where it lies, so that stores keep theirs when they are moved."""
    return {**source, "name": name}


def _labeled(config: StageJob) -> str:
    """The store of a label job that has done all there is to do."""
    return label(config).store


def true_masks(folder: Path, unlabeled: Mapping[str, str], *, rest: bool = False) -> str:
    """A store of the true masks of these images, as a perfect SAM's automatic ones would be; returns where it lies.

    `rest`: with what none of them covers as one more mask; a SAM that finds everything finds the background too.
    """
    source = open_source(CocoSource(uri=unlabeled["uri"], annotations=unlabeled["annotations"]))
    content = {"source": unlabeled["annotations"]} | ({"rest": True} if rest else {})
    store = Store.create(str(folder), "truth", content)
    found = ((row, source.instances(row.image_id)) for row in store.missing(source.rows()))
    rows = [
        LabeledRow(image=row, instances=_whole(one) if rest and one is not None else one, seconds=0.0)
        for row, one in found
    ]
    if rows:
        store.write_part(rows)
    return store.uri


def _whole(masks: Instances) -> Instances:
    return Instances.from_masks(np.concatenate([masks.to_masks(), ~masks.to_masks().any(0)[None]]), provenance="gt")


_INSTANCES: Table = {
    "rows": INSTANCES,
    "metric": metric_names.AP,
    "schedule": {**training.SCHEDULE, "steps": 400},
    "rates": (2e-3, 1e-3, 5e-4),
    "tuned_on": ("family-b",),
}
_NUCLEI: Table = {
    **_INSTANCES,
    # Supervised training is worse at twice the higher and at half the lower one.
    "rates": (1e-3, 5e-4),
    "tuned_on": ("nuclei",),
    "schedule": {**training.SCHEDULE, "steps": 200},
    "student": {
        **training.STUDENT,
        "num_queries": 60,
        # With all scores parts of tiles join to worse masks, and AP is lower.
        "predict": {"top_k": 400, "side": 128, "tiles": {"size": 128, "overlap": 32}, "score_threshold": 0.05},
    },
    "view": {"canvas_hw": [128, 128], "unit": "image", "min_scale": 0.8, "max_scale": 1.25},
}
_MAPS: Table = {
    "metric": metric_names.MIOU,
    "student": training.FPN,
    "view": training.VIEW,
    "schedule": {**training.SEMANTIC_SCHEDULE, "steps": 400, "precision": "bfloat16"},
    "rates": (1e-3, 5e-4, 2e-3),
}
DATA: Mapping[str, Task] = {
    "family-b": Task(
        title="Procedural family B, 40 of 400 scenes labeled, 128 px",
        prepare=family_b,
        student=training.STUDENT,
        view=training.VIEW,
        **_INSTANCES,
    ),
    "nuclei": Task(
        title="nuclei, 21 of 424 images labeled, crops of 128 px", prepare=partial(nuclei, share=0.05), **_NUCLEI
    ),
    "nuclei-10": Task(
        title="nuclei, 42 of 424 images labeled, crops of 128 px", prepare=partial(nuclei, share=0.1), **_NUCLEI
    ),
    "family-b-semantic": Task(
        title="Procedural family B, label maps, 40 of 400 scenes labeled, 128 px",
        prepare=family_b_zero_shot,
        rows=SEMANTIC,
        tuned_on=("family-b-semantic",),
        **_MAPS,
    ),
    "family-b-tags": Task(
        title="Procedural family B, 400 scenes with image-level tags, masks of 40 for thresholds only, 128 px",
        prepare=family_b_tags,
        rows=TAGS,
        tuned_on=("family-b-tags",),
        **_MAPS,
    ),
    "coco-free": Task(
        title="coco-free, 26 of 130 photographs labeled or all tagged, 12 super-classes, 128 px",
        prepare=coco_free,
        rows=PHOTOGRAPHS,
        tuned_on=("family-b-semantic", "family-b-tags"),
        **{**_MAPS, "schedule": {**_MAPS["schedule"], "steps": 200}},
    ),
}
