"""Exports read back: the same masks, classes and ids wherever the format can carry them, whatever the names are."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segray.formats.coco import CocoSource
from segray.formats.coco.writer import export_coco
from segray.formats.label_studio import LabelStudioSource
from segray.formats.label_studio.writer import export_label_studio
from segray.formats.png import PngSource
from segray.formats.png.writer import export_png
from segray.formats.registry import open_source
from segray.formats.source import Source
from segray.formats.tally import ExportSummary
from segray.formats.voc import VocSource
from segray.formats.voc.writer import HIDDEN, class_map, export_voc
from segray.formats.yolo import YoloSource
from segray.formats.yolo.writer import export_yolo
from segray.masks.instances import UNLABELED, Instances
from segray.masks.semantic import paint
from segray.store.rows import ImageRow, LabeledRow

ODD = (
    "2024-01-01T12:00:00.png",
    "what?.png",
    "x*y.png",
    '"q".png',
    "aux.png",
    "cam1\\f001.png",
    "n" * 200 + ".png",
    *("same.bmp", "same.png", "a.png", "A.PNG", "a", "a/b.png", "a/b", "a/b/000.png"),
    *("../../up.png", "/etc/x.png", "C:\\x.png", "s3://bucket/k.png", "é/漢字.png", " blank .png", "line\nbreak.png"),
)
LETTERS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: text.strip())


@dataclass(frozen=True)
class Scene:
    """What is exported, and what is the same in every format."""

    rows: list[LabeledRow]
    classes: tuple[str, ...]

    def name(self, class_id: int) -> str | None:
        return None if class_id == UNLABELED else self.classes[class_id]


def shape(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """A few rectangles, some of them cut out again: parts, holes, islands, single pixels; perhaps nothing at all."""
    mask = np.zeros(size_hw, dtype=bool)
    for index in range(rng.integers(0, 5)):
        (y0, y1), (x0, x1) = (np.sort(rng.integers(0, side + 1, 2)) for side in size_hw)
        mask[y0:y1, x0:x1] = index % 2 == 0
    return mask


@st.composite
def scenes(draw: st.DrawFn, *, with_classes: bool = False, with_empty: bool = True) -> Scene:
    classes = tuple(draw(st.lists(LETTERS, min_size=1, max_size=3, unique=True)))
    names = draw(st.lists(st.sampled_from(ODD) | LETTERS, min_size=1, max_size=4, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, number = [], 0
    for name in names:
        size_hw = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
        masks = [shape(rng, size_hw) for _ in range(draw(st.integers(0, 4)))]
        masks = [mask for mask in masks if with_empty or mask.any()]
        class_ids = rng.integers(0 if with_classes else UNLABELED, len(classes), len(masks))
        ids = [str(number + index) if rng.random() < 0.6 else f"obj {index}" for index in range(1, len(masks) + 1)]
        number += len(masks)
        instances = Instances.from_masks(
            np.array(masks, bool).reshape(-1, *size_hw),
            provenance="sam:nano",
            classes=class_ids,
            ids=ids,
            attributes=[json.dumps({"review": "why"}) if rng.random() < 0.5 else "" for _ in masks],
        )
        rows.append(LabeledRow(image=ImageRow(image_id=name, uri=f"/data/{name}", version="1"), instances=instances))
    return Scene(rows, classes)


def coco(scene: Scene, folder: Path, form: Any) -> tuple[ExportSummary, Source]:
    summary = export_coco(scene.rows, folder / "out.json", scene.classes, form=form, tolerance_px=0)
    return summary, open_source(CocoSource(uri=str(folder), annotations=str(folder / "out.json")))


def label_studio(scene: Scene, folder: Path) -> tuple[ExportSummary, Source]:
    summary = export_label_studio(scene.rows, folder / "out", scene.classes, model_version="x")
    tasks = str(folder / "out" / "tasks.json")
    return summary, open_source(LabelStudioSource(uri=str(folder), annotations=tasks, predictions=True))


def png(scene: Scene, folder: Path) -> tuple[ExportSummary, Source]:
    summary = export_png(scene.rows, folder / "out", scene.classes)
    return summary, open_source(PngSource(uri=str(folder), masks=str(folder / "out")))


def yolo(scene: Scene, folder: Path) -> tuple[ExportSummary, Source]:
    summary = export_yolo(scene.rows, folder / "out", scene.classes, tolerance_px=0)
    return summary, open_source(YoloSource(uri=str(folder / "images"), labels=str(folder / "out" / "labels")))


FORMS: dict[str, Callable[[Scene, Path], tuple[ExportSummary, Source]]] = {
    "coco": lambda scene, folder: coco(scene, folder, "rle"),
    "coco-polygons": lambda scene, folder: coco(scene, folder, "polygons"),
    "cvat": lambda scene, folder: coco(scene, folder, "cvat"),
    "label-studio": label_studio,
    "png": png,
    "yolo": yolo,
}
WITHOUT_IDS = {"yolo"}
few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def in_folder(check: Callable[[Path], None]) -> None:
    """A fresh folder for each example, gone after it."""
    folder = Path(tempfile.mkdtemp())
    try:
        check(folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("form", FORMS)
@few
@given(data=st.data())
def test_masks_classes_and_ids_come_back(form: str, data: st.DataObject) -> None:
    scene = data.draw(scenes(with_empty=form in ("png", "label-studio")))

    def check(folder: Path) -> None:
        summary, source = FORMS[form](scene, folder)
        assert (summary.images, summary.masks) == (len(scene.rows), sum(len(row.instances) for row in scene.rows))
        for row in scene.rows:
            wanted, found = row.instances, source.instances(row.image.image_id)
            if form == "label-studio":
                wanted = wanted[wanted.areas > 0]  # An empty region is damage for whoever reads it, and is counted.
            assert found.counts.tolist() == wanted.counts.tolist()
            names = [None if one == UNLABELED else source.classes[one] for one in found.classes]
            called = [
                "object" if form in ("coco", "coco-polygons", "cvat") and one is None else one
                for one in map(scene.name, wanted.classes)
            ]
            assert names == called
            if form not in WITHOUT_IDS:
                assert found.ids.tolist() == wanted.ids.tolist()
                assert [one and json.loads(one) for one in found.attributes] == [
                    one and json.loads(one) for one in wanted.attributes
                ]

    in_folder(check)


@pytest.mark.parametrize("form", [png, yolo])
@pytest.mark.parametrize("classes", [("same", "same", "last"), ("half \udc80", "a,b", "line\nend"), ("", " ", "\0")])
def test_odd_and_equal_class_names_come_back(form: Any, classes: tuple[str, ...], tmp_path: Path) -> None:
    masks = np.eye(3, dtype=bool)[:, :, None].repeat(4, axis=2)
    instances = Instances.from_masks(masks, provenance="sam:nano", classes=[2, 0, 1])
    row = LabeledRow(image=ImageRow(image_id="a.png", uri="/data/a.png", version="1"), instances=instances)
    source = form(Scene([row], classes), tmp_path)[1]
    assert source.classes == classes
    assert source.instances("a.png").classes.tolist() == [2, 0, 1]


@few
@given(scene=scenes(with_classes=True))
def test_class_maps_come_back_to_the_pixel_and_lost_pixels_are_counted(scene: Scene) -> None:
    def check(folder: Path) -> None:
        summary = export_voc(scene.rows, folder / "out", scene.classes)
        source = open_source(VocSource(uri=str(folder / "images"), masks=str(folder / "out" / "SegmentationClass")))
        shift = 0 if scene.classes[0].lower() == "background" else 1
        names = scene.classes if shift == 0 else ("background", *scene.classes)
        assert source.classes == names
        hidden = 0
        for row in scene.rows:
            found = source.instances(row.image.image_id)
            assert np.array_equal(paint(found), class_map(row.instances, shift, 255))
            shown = row.instances.to_masks() & (paint(row.instances) == row.instances.classes[:, None, None])
            hidden += int((shown.sum(axis=(1, 2)) < row.instances.areas).sum())
        # Pixels under a mask of the same class are lost to the object, and shown all the same.
        counted = summary.tally["masks"].notes.get(HIDDEN.name)
        assert (counted.number if counted else 0) >= hidden

    in_folder(check)


@pytest.mark.parametrize("form", FORMS)
@few
@given(data=st.data())
def test_empty_masks_are_written_or_counted(form: str, data: st.DataObject) -> None:
    scene = data.draw(scenes())

    def check(folder: Path) -> None:
        summary, source = FORMS[form](scene, folder)
        whole = sum(len(row.instances) for row in scene.rows)
        empty = sum(int((row.instances.areas == 0).sum()) for row in scene.rows)
        gone = summary.tally["masks"].left_out.get("empty")
        assert summary.masks + (gone.number if gone else 0) == whole
        assert gone is None or gone.number == empty
        read = sum(len(source.instances(row.image.image_id)) for row in scene.rows)
        assert read >= whole - empty

    in_folder(check)
