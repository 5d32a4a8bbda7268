"""Stand-ins for tests and benchmarks, here and in projects that build on segray: a device that sleeps, tiny images.

A stand-in takes the place of what is costly (a model on a device) and leaves the rest real.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from segray.config.model_kinds import STUDENT_CLASSES
from segray.formats.coco import CocoSource
from segray.labels.labeler import Labeler
from segray.masks import rle
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.methods import settings_class
from segray.store import StoreKind


@dataclass(frozen=True)
class SleepingGenerator:
    """A device-bound model: takes its time, computes little. One mask per image, of its brighter pixels."""

    seconds: float
    """Per image."""

    def generate(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Instances]:
        """Masks that depend on nothing but the pixels."""
        time.sleep(self.seconds * len(images))
        grey = [image.mean(2) for image in images]
        return [Instances.from_masks((g > g.mean())[None], provenance=f"{Provenance.SAM}:sleeping") for g in grey]


@dataclass(frozen=True, kw_only=True)
class SleepingStage:
    """A stage over a `SleepingGenerator` (see `labels.stages.stage.Stage`)."""

    seconds: float
    images_per_batch: int = 1
    name: str = "masks"
    kind: StoreKind = StoreKind.MASKS

    @property
    def content(self) -> Mapping[str, Any]:
        """The time it takes decides nothing."""
        return {"generator": "sleeping"}

    def build(self) -> Labeler:
        """Threads, no model."""
        return Labeler(
            SleepingGenerator(self.seconds),
            max_pixels=100_000_000,
            images_per_batch=self.images_per_batch,
            decode_threads=1,
        )


def write_images(folder: Path, number: int, *, side: int = 64, seed: int = 0, first: int = 0) -> list[Path]:
    """PNG images of smooth noise, each another one: `folder/00007.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.png" for index in range(first, first + number)]
    for index, path in enumerate(paths, first):
        coarse = np.random.default_rng([seed, index]).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return paths


def write_coco(
    folder: Path, number: int, *, side: int = 64, classes: Sequence[str] = ("disc", "square"), seed: int = 0
) -> CocoSource:
    """Images with 0, 1, 2, 3, 0, ... rectangles in them, of the classes in turn, and the COCO file that says so."""
    paths = write_images(folder / "images", number, side=side, seed=seed)
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    for index in range(number):
        for _ in range(index % 4):
            (y0, x0), (rows, columns) = rng.integers(0, side // 2, 2), rng.integers(side // 8, side // 2, 2)
            mask = np.zeros((1, side, side), dtype=np.bool_)
            mask[0, y0 : y0 + rows, x0 : x0 + columns] = True
            counts = {"size": [side, side], "counts": rle.encode(mask)[0].decode()}
            about = {"id": len(annotations), "image_id": index, "category_id": len(annotations) % len(classes)}
            annotations.append({**about, "segmentation": counts, "area": int(mask.sum()), "iscrowd": 0})
    document = {
        "images": [
            {"id": index, "file_name": path.name, "height": side, "width": side} for index, path in enumerate(paths)
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(document))
    return CocoSource(uri=str(folder / "images"), annotations=str(folder / "instances.json"))


_SMALL_STUDENTS = {
    "mask2former": """
num_queries = 6
hidden_dim = 32
mask_feature_size = 16
num_heads = 2
pixel_decoder_layers = 1
pixel_decoder_feedforward = 32
decoder_layers = 1
decoder_feedforward = 32
num_points = 64
no_object_weight = 0.001
predict = { side = 64, top_k = 6 }
""",
    "fpn": """
width = 16
""",
}
_TRAINING = """
job = "train"
runs = "{runs}"
view = {{ canvas_hw = [64, 64] }}
workers = {{ num_workers = 0 }}
tracking = {{ wandb = "off" }}
intervals = {{ log_every = 1, checkpoint_every = 2 }}
"""
_SCHEDULE = "{{ steps = {steps}, labeled_batch = 4, learning_rate = 0.01, clip_norm = 1.0{more} }}"
_METHOD = """
[method]
kind = "{kind}"
schedule = {schedule}
"""
"""A method that needs other settings to act within few steps has a `tiny.toml` in its folder."""


def write_training(folder: Path, method: str = "s4m", *, steps: int = 4, student: str | None = None) -> Path:
    """A training of seconds, as a config file: images of 64 pixels, a student of few weights, in this process.

    Eight labeled images, eight unlabeled ones whose masks are known as `hidden`, four for validation.

    Args:
        folder: becomes the home of images, runs and the file.
        method: one of `segray.methods.METHODS`.
        steps: of each run.
        student: its kind; none: the first of `config.model_kinds.STUDENTS` that the method trains.
    """
    sources = {name: write_coco(folder / name, number, seed=seed) for seed, (name, number) in enumerate(_ROLES.items())}
    data = "".join(
        f'[data.{role}]\nkind = "coco"\nuri = "{sources[name].uri}"\nannotations = "{sources[name].annotations}"\n'
        for role, name in (*zip(_ROLES, _ROLES, strict=True), ("hidden", "unlabeled"))
    )
    kind = student or next(one.kind for one in STUDENT_CLASSES if issubclass(one, settings_class(method).trains))
    network = f'[student]\nkind = "{kind}"\n' + _SMALL_STUDENTS.get(kind, "")
    path = folder / "train.toml"
    path.write_text(_TRAINING.format(runs=folder / "runs") + _method_table(method, steps) + network + data)
    return path


def _method_table(method: str, steps: int) -> str:
    tiny = resources.files("segray.methods") / method / "tiny.toml"
    labels_only = _SCHEDULE.format(steps=steps, more="")
    schedule = _SCHEDULE.format(steps=steps, more=", unlabeled_batch = 4")
    if tiny.is_file():
        return tiny.read_text().replace("{labels_schedule}", labels_only).replace("{schedule}", schedule)
    learns_unlabeled = any(run.group for run in settings_class(method)().batches())
    text = _METHOD.replace("{kind}", method)
    return text.replace("{schedule}", schedule if learns_unlabeled else labels_only)


_ROLES = {"labeled": 8, "unlabeled": 8, "validation": 4}
