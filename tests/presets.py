"""Presets at full size without memory, and small enough for a few steps: what `configs` promises, in tests.

A preset is shrunk by one mechanism: each line of `SHRUNK` whose path the preset's own file sets becomes an override, as
a user would give it on the command line, and so does each of `SHRUNK_MASK2FORMER` for such a student; where the data
lie is overridden too. All else stays as the preset has it.
"""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from segray.config.text.toml import literal
from segray.formats.format import SourceSettings
from segray.formats.registry import open_source
from segray.formats.voc import VocSource
from segray.job_configs import load_as
from segray.jobs.train import prepare_rows
from segray.methods import plans
from segray.methods.config import TrainConfig
from segray.models.build import build_student, network_of
from segray.models.package import save_student
from segray.models.student import Student
from segray.store import Store
from segray.store.rows import LabeledRow
from segray.testing import write_coco, write_images
from segray.training.distributed import WorkerGroup
from segray.training.loader import StepLoader
from segray.training.loop import Loop
from segray.training.plan import RunContext

PRESETS: Final = Path(__file__).parents[1] / "configs"
STEPS: Final = 2
IMAGES: Final = 4
SIDE: Final = 64
"""Side in pixels of made-up images and of views; a multiple of 14 for DINOv2."""

_BATCHES: Final[Mapping[str, Any]] = {
    f"method.{run}schedule.{name}": number
    for run in ("", "teacher.", "student.")
    for name, number in {"steps": STEPS, "labeled_batch": 2, "unlabeled_batch": 2}.items()
}
SHRUNK: Final[Mapping[str, Any]] = {
    **_BATCHES,
    "method.group": 2,
    "method.student.arp.group": 4,
    "method.student.schedule.unlabeled_batch": 4,
    "method.sam.kind": "original",
    "method.sam.model": "nano",
    "workers.num_workers": 0,
    "workers.num_loaders": 0,
    "workers.gpus": 0,
    "student.weights": None,
    "student.backbone.weights": None,
    "student.backbone.architecture": "resnet-18",
    "student.encoder": "resnet10t",
    "student.size": "tiny",
    "student.loss.ohem.group": 2,
    "student.predict.window.size": SIDE,
    "view.canvas_hw": (SIDE, SIDE),
}
"""What of a preset becomes smaller, by path."""
SHRUNK_DPT: Final[Mapping[str, Any]] = {**SHRUNK, "view.canvas_hw": (56, 56)}
"""The same for students whose sides are multiples of 14."""
SHRUNK_MASK2FORMER: Final[Mapping[str, Any]] = {
    "student.num_queries": 12,
    "student.hidden_dim": 32,
    "student.mask_feature_size": 32,
    "student.num_heads": 2,
    "student.pixel_decoder_layers": 1,
    "student.pixel_decoder_feedforward": 32,
    "student.decoder_layers": 2,
    "student.decoder_feedforward": 32,
    "student.num_points": 128,
}
"""Sizes of a Mask2Former, which presets leave at their published defaults."""


def presets(*kinds: str) -> list[Path]:
    """Return the train configs whose students are of these kinds, but for the small ones that train as they are."""
    found = []
    for path in sorted(PRESETS.rglob("*.toml")):
        table = tomllib.loads(path.read_text())
        kind = table.get("student", {}).get("kind", "mask2former")
        if table["job"] == "train" and kind in kinds and "family-b" not in path.name:
            found.append(path)
    return found


def preset_id(path: Path) -> str:
    """Return the name of a preset below `configs`."""
    return str(path.relative_to(PRESETS).with_suffix(""))


def on_meta(config: TrainConfig, classes: tuple[str, ...]) -> Student:
    """Build the student at full size on the meta device: shapes without memory, and without weights."""
    with torch.device("meta"):
        student: Student = network_of(config.student)(config.student, classes, load=False)
    return student


def shrink(path: Path, folder: Path, **more: Any) -> TrainConfig:
    """Return a preset on made-up data in `folder`, with the lines of `SHRUNK` that it sets itself, and `more`."""
    table = tomllib.loads(path.read_text())
    sizes = SHRUNK_DPT if table["student"].get("kind") == "dpt" else SHRUNK
    overrides = {name: value for name, value in sizes.items() if _sets(table, name)}
    overrides |= SHRUNK_MASK2FORMER if table["student"].get("kind", "mask2former") == "mask2former" else {}
    overrides |= dict(_made_up(table, folder)) | {"runs": str(folder / "runs")} | more
    return load_as(TrainConfig, path, [f"{name}={literal(value)}" for name, value in overrides.items()])


def train_steps(config: TrainConfig, folder: Path) -> Iterator[dict[str, float]]:
    """Train each run of a config for its steps in this process, and yield its losses per step.

    Runs that build on another get a fresh student in its place.
    """
    rows = {role: one.rows for role, one in prepare_rows(config).items()}
    classes = rows["labeled"].classes
    parent = str(folder / "parent")
    save_student(build_student(config.student, classes, seed=7), parent, info={})
    for plan in plans(config):
        parents = dict.fromkeys(("teacher", "labeler"), parent)
        context = RunContext(config=config, classes=classes, device=torch.device("cpu"), parents=parents)
        loop = Loop(plan.objective(context), plan.schedule, WorkerGroup(device=torch.device("cpu")))
        unlabeled = rows["unlabeled"] if plan.unlabeled else None
        loader = StepLoader(
            rows["labeled"], unlabeled, config.view, plan.schedule, seed=0, rank=0, world=1, start_step=0, loaders=0
        )
        for step, pieces in enumerate(loader):
            loop.advance(pieces, step)
            yield loop.metrics()


# ------------------------------------------------------------------------------------------------------ made-up data


def _sets(table: Mapping[str, Any], path: str) -> bool:
    value: Any = table
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def _made_up(table: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield overrides that lead a preset to small data of the layouts that it names, which are written."""
    sources = {role: one for role, one in table["data"].items() if isinstance(one, Mapping)}
    classes = next((one["classes"] for one in sources.values() if "classes" in one), ())
    for role, source in sources.items():
        for name, value in WRITERS[source["kind"]](folder / role, {"classes": classes, **source}).items():
            yield f"data.{role}.{name}", value
    if "zero_shot" in table["method"]:
        made = write_coco(folder / "labels", IMAGES, side=SIDE)
        yield "method.zero_shot.store", _write_store(folder / "stores", made)


def _write_list(folder: Path, source: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    if "image_list" not in source:
        return {}
    path = folder / "list.txt"
    path.write_text("\n".join(names))
    return {"image_list": str(path)}


def _folder(folder: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    paths = write_images(folder / "images", IMAGES, side=SIDE, seed=len(folder.name))
    return {"uri": str(folder / "images"), **_write_list(folder, source, [one.name for one in paths])}


def _voc(folder: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    found = _folder(folder, source)
    masks = folder / "masks"
    masks.mkdir()
    for index in range(IMAGES):
        _class_map(index, len(source["classes"])).save(masks / f"{index:05d}.png")
    return {**found, **({"masks": str(masks)} if "masks" in source else {})}


def _class_map(index: int, classes: int) -> Image.Image:
    labels = np.full((SIDE, SIDE), 255, dtype=np.uint8)
    labels[:, : SIDE // 2], labels[: SIDE // 2, SIDE // 2 :] = index % classes, (index + 1) % classes
    return Image.fromarray(labels)


def _coco(folder: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    made = write_coco(folder, IMAGES, side=SIDE, seed=len(folder.name))
    names = [one["file_name"] for one in json.loads(Path(made.annotations).read_text())["images"]]
    return {"uri": made.uri, "annotations": made.annotations, **_write_list(folder, source, names)}


def _cityscapes(folder: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    """Instance ids of road, two cars and a person."""
    names = []
    for index in range(IMAGES):
        name = f"{source['split']}/aachen/aachen_{index:06d}_000019"
        names.append(f"leftImg8bit/{name}_leftImg8bit.png")
        picture, truth = folder / names[-1], folder / f"gtFine/{name}_gtFine_instanceIds.png"
        for path in (picture, truth):
            path.parent.mkdir(parents=True, exist_ok=True)
        ids = np.full((SIDE, SIDE), 7, dtype=np.uint16)
        ids[4:24, 4:30], ids[10:40, 34:60], ids[40:60, 8:20] = 26000, 26001, 24000
        Image.fromarray(ids).save(truth)
        Image.fromarray((ids % 251).astype(np.uint8)).convert("RGB").save(picture)
    return {"uri": str(folder), **_write_list(folder, source, names)}


def _write_store(folder: Path, settings: SourceSettings) -> str:
    """Write a store with the masks of a source, and return its URI."""
    source = open_source(settings)
    rows = []
    for image in source.rows():
        found = source.instances(image.image_id)
        assert found is not None
        rows.append(LabeledRow(image=image, sha256="0" * 64, instances=found))
    store = Store.create(str(folder), "classify", {"classes": list(source.classes)})
    store.write_part(rows)
    return store.uri


def _store(folder: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    made = _voc(folder, {**source, "masks": ""})
    return {"uri": _write_store(folder / "stores", VocSource(**made, classes=tuple(source["classes"])))}


WRITERS: Final[Mapping[str, Callable[[Path, Mapping[str, Any]], dict[str, Any]]]] = {
    "folder": _folder,
    "voc": _voc,
    "coco": _coco,
    "cityscapes": _cityscapes,
    "store": _store,
}
"""Made-up data by kind of source; each returns what of the source's table is elsewhere."""
