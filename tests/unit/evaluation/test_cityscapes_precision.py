"""Cityscapes' average precision equals that of cityscapesScripts."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segray.evaluation.cityscapes_precision import CityscapesPrecision
from segray.evaluation.instance_scores import InstanceScores
from segray.formats.cityscapes import CityscapesSource
from segray.formats.registry import open_source
from segray.masks.instances import Instances
from tests.cityscapes_scripts import OBJECTS, average_precision

SIZE_HW = (60, 80)


def make_truth(rng: np.random.Generator) -> np.ndarray:
    """Draw an instance map with void, groups, caravans, and objects around the 100 pixels from which they count."""
    ids = np.full(SIZE_HW, 7, dtype=np.uint16)
    for value in (0, 4, 24, 26, 29, 29000):
        if rng.random() < 0.6:
            paint(rng, ids, value, 8, 24)
    for number in range(8):
        paint(rng, ids, 1000 * int(rng.choice([24, 26, 33])) + number, 7, 22)
    return ids


def paint(rng: np.random.Generator, ids: np.ndarray, value: int, least: int, most: int) -> None:
    (height, width), (y, x) = rng.integers(least, most, 2), rng.integers(0, SIZE_HW)
    ids[y : y + height, x : x + width] = value


def find(rng: np.random.Generator, ids: np.ndarray) -> Instances:
    """Return detections: near objects and void regions, doubled, of the wrong class, anywhere, and empty ones."""
    masks, classes = [], []
    for value in np.unique(ids):
        label = int(value) // 1000 if value >= 1000 else int(rng.choice([24, 26, 33]))
        for _ in range(rng.integers(0, 3)):
            mask = np.roll(ids == value, rng.integers(-1, 2, 2), (0, 1)) & (rng.random(SIZE_HW) < 0.98)
            masks.append(mask)
            classes.append({24: 0, 26: 2, 33: 7}.get(label, 1) if rng.random() < 0.8 else 2)
    masks.append(np.zeros(SIZE_HW, dtype=bool))
    classes.append(0)
    # One decimal: scores tie, within images and across.
    scores = np.round(rng.random(len(masks)), 1)
    return Instances.from_masks(np.array(masks), provenance="student", classes=classes, scores=scores)


@pytest.mark.parametrize("seed", range(6))
def test_equals_cityscapes_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng, paths, found = np.random.default_rng(seed), {}, {}
    gathered = [InstanceScores(OBJECTS, protocol="cityscapes") for _ in range(2)]
    source = open_source(CityscapesSource(uri=str(tmp_path), split="val", level="instance"))
    folder = tmp_path / "gtFine/val/a"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        name, ids = f"a_{number:06}_000000", make_truth(rng)
        paths[name] = folder / f"{name}_gtFine_instanceIds.png"
        Image.fromarray(ids).save(paths[name])
        found[name] = find(rng, ids)
        true = source.instances(f"val/a/{name}_leftImg8bit.png", crowds=True)
        assert true is not None
        gathered[number % 2].add(name, found[name], true)
    theirs = average_precision(tmp_path, paths, found, monkeypatch)
    gathered[1].merge(gathered[0])
    ours = gathered[1].result().cityscapes
    assert ours is not None
    assert ours.ap == pytest.approx(theirs["allAp"], abs=1e-12)
    assert ours.ap50 == pytest.approx(theirs["allAp50%"], abs=1e-12)
    assert {name: one["ap"] for name, one in theirs["classes"].items()} == pytest.approx(
        ours.per_class, abs=1e-12, nan_ok=True
    )
    assert 0.05 < ours.ap < 0.95
    figures = gathered[1].result().figures()
    assert {"ap", "ap50", "ap_cityscapes", "ap50_cityscapes", "ap/car", "ap_cityscapes/car"} <= figures.keys()
    assert not {one.name for one in tmp_path.iterdir()} & {"matches.json", "none.json"}


@pytest.mark.parametrize("area", [1.0, 400.0, 90_000.0])
def test_pixels_are_counted_whatever_area_a_file_gives(area: float) -> None:
    square = np.ones((1, 20, 20), dtype=bool)
    gathered = CityscapesPrecision(("car",))
    gathered.add(
        "a",
        Instances.from_masks(square, provenance="student", classes=[0]),
        Instances.from_masks(square, provenance="gt", classes=[0], file_areas=[area]),
    )
    assert gathered.result().ap == 1.0


def test_nothing_to_find_and_nothing_found() -> None:
    nothing, square = Instances.empty((20, 20)), np.ones((1, 20, 20), dtype=bool)
    one = Instances.from_masks(square, provenance="gt", classes=[0])
    empty, missed = CityscapesPrecision(("car",)), CityscapesPrecision(("car", "bus"))
    empty.add("a", one, nothing)
    assert math.isnan(empty.result().ap)
    assert empty.result().figures() == {}
    missed.add("a", nothing, one)
    assert missed.result().figures() == {"ap_cityscapes": 0.0, "ap50_cityscapes": 0.0, "ap_cityscapes/car": 0.0}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda: InstanceScores(("car",), protocol="cityscapes"), "images in both parts"),
        (lambda: InstanceScores(("bus",), protocol="cityscapes"), "cannot be merged"),
        (lambda: InstanceScores(("car",)), "different protocols"),
    ],
)
def test_parts_that_do_not_go_together(change, why: str) -> None:
    nothing, first, second = Instances.empty((20, 20)), InstanceScores(("car",), protocol="cityscapes"), change()
    for one in (first, second):
        one.add("a", nothing, nothing)
    with pytest.raises(ValueError, match=why):
        first.merge(second)
    with pytest.raises(ValueError, match="was added before"):
        first.add("a", nothing, nothing)
