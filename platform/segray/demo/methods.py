"""What `segray demo` shows of each method: which labels it makes of the scenes, and which trainings it compares.

Knows the configs of jobs and their order; runs none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from segray.config.label import LabelConfig, StageJob
from segray.demo import DEMOS, labeling, training
from segray.methods.sepl.config import CamConfig

Table = Mapping[str, Any]
Label = Callable[[str, StageJob], str]
"""Does a label job, which people know by this name, and gives the store that it leaves."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much the demo does."""

    train_images: int
    """Scenes to label and to train on, a tenth of them labeled."""
    sample: int
    """How many of them are the first to be labeled. S4M needs no more: it asks SAM about all as it trains."""
    validation_images: int
    """Scenes to measure on."""
    steps: int
    """Updates of each student of instances."""
    map_steps: int
    """Updates of each student of label maps."""
    tagger_steps: int
    """Updates of a classifier of tags."""


FULL: Final = Size(train_images=400, sample=120, validation_images=60, steps=340, map_steps=250, tagger_steps=600)
QUICK: Final = Size(train_images=64, sample=32, validation_images=24, steps=60, map_steps=80, tagger_steps=150)
NAME: Final = "procedural world, family B"
"""Of the source, however many of its scenes a job goes through: all their masks are one store's."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Scenes that are drawn, and what is known of them."""

    folder: Path
    """For everything that is made of them."""
    data: Mapping[str, Table]
    """Of a training: labeled, unlabeled (all scenes to train on, their masks in the file), hidden, validation."""
    sample: Table
    """The source of the first scenes to label."""
    size: Size

    @property
    def stores(self) -> Path:
        """The folder of stores."""
        return self.folder / "stores"

    @property
    def scenes(self) -> Table:
        """The source of all scenes to train on."""
        return {**self.data["unlabeled"], "name": NAME}


@dataclass(frozen=True, kw_only=True)
class Training:
    """Tables of a training's config."""

    method: Table
    student: Table
    data: Mapping[str, Table]


Method = Callable[[World, Label], Mapping[str, Training]]
"""Has the labels made, and says which trainings are compared, the base first."""


def s4m(world: World, label: Label) -> Mapping[str, Training]:
    """Instances from few labels: labels alone, and S4M, which asks SAM about its teacher's masks as it goes."""
    label("masks", _masks(world, world.sample))
    return {
        name: Training(method=method, student=training.STUDENT, data=world.data)
        for name, method in training.methods(world.size.steps).items()
    }


def unimatch(world: World, label: Label) -> Mapping[str, Training]:
    """Label maps from few labels: labels alone, UniMatch V1, and what SAM and CLIP said of the scenes added to it."""
    masks = label("masks", _masks(world, world.scenes))
    found = label("classes", labeling.zero_shot(masks, world.stores, world.data["labeled"]))
    plain = {**training.UNIMATCH, "streams": "v1", "schedule": {**_schedule(world), **training.UNLABELED}}
    enhanced = {**plain, "zero_shot": {"store": found}, "label_smoothing": 0.1}
    return {
        "Supervised": _supervised(world, world.data["labeled"]),
        "UniMatch": Training(method=plain, student=training.FPN, data=world.data),
        "UniMatch + zero-shot labels": Training(method=enhanced, student=training.FPN, data=world.data),
    }


def sepl(world: World, label: Label) -> Mapping[str, Training]:
    """Label maps from image-level tags: a student of a classifier's activations, and one of them put right by SAM.

    Each has the threshold of activations that is best for what it learns from.
    """
    masks, chosen = label("masks", _masks(world, world.scenes)), {"labeled": world.data["labeled"]}
    maps = label("cam", _cam(world, chosen))
    unsettled = label("cam-to-vote", _cam(world, {**chosen, "voting": {"masks": masks, "rule": labeling.RULE}}))
    voted = label("vote", labeling.vote(masks, unsettled, world.stores))
    return {
        "Student of CAM": _supervised(world, {"kind": "store", "uri": maps}),
        "Student of CAM + SEPL": _supervised(world, {"kind": "store", "uri": voted}),
    }


METHODS: Final[Mapping[str, Method]] = {name: globals()[name] for name in DEMOS}


def _masks(world: World, source: Table) -> LabelConfig:
    return labeling.masks(source, world.stores, threads=2)


def _cam(world: World, threshold: Table) -> CamConfig:
    return labeling.cam(world.scenes, world.stores, threshold, steps=world.size.tagger_steps)


def _supervised(world: World, labeled: Table) -> Training:
    method = {"kind": "supervised", "schedule": _schedule(world)}
    data = {"labeled": labeled, "validation": world.data["validation"]}
    return Training(method=method, student=training.FPN, data=data)


def _schedule(world: World) -> Table:
    return {**training.SEMANTIC_SCHEDULE, "steps": world.size.map_steps}
