"""cityscapesScripts as an oracle: its functions with what they need of old NumPy, and a made-up city.

cityscapesScripts 2.3.0 calls `np.in1d`, which NumPy 2.4 no longer has, and writes NumPy's integers to `matches.json` in
the current folder: NumPy gets the function, and its writing of JSON is taken away. Its instance images, which Pillow no
longer writes as PNG, are written here. The product does not need it.
"""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segray.masks.instances import Instances

HEIGHT, WIDTH = 40, 64
OBJECTS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
POLYGONS: dict[str, list[tuple[str, list[tuple[float, float]]]]] = {
    "aachen_000000_000019": [
        ("road", [(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)]),
        ("ego vehicle", [(0, 36), (WIDTH, 36), (WIDTH, HEIGHT), (0, HEIGHT)]),
        ("car", [(2, 2), (20, 3), (18, 14), (2, 12)]),
        ("car", [(10, 5), (30, 6), (30, 20)]),
        ("cargroup", [(40, 2), (60, 2), (60, 14), (40, 14)]),
        ("person", [(4, 22), (8, 22), (8, 30), (4, 30)]),
        ("persongroup", [(50, 30), (54, 30), (54, 33), (50, 33)]),
        ("caravan", [(34, 20), (46, 20), (46, 28), (34, 28)]),
        ("license plate", [(12, 10), (15, 10), (15, 12)]),
        ("static", [(30, 24), (33, 24), (33, 34), (30, 34)]),
        ("bus", [(20.5, 22.25), (29, 21), (29.5, 35), (20, 35)]),
    ],
    "aachen_000001_000019": [
        ("sky", [(0, 0), (WIDTH, 0), (WIDTH, 12), (0, 12)]),
        ("polegroup", [(60, 0), (63, 0), (63, 30), (60, 30)]),
        ("person", [(10, 14), (24, 14), (24, 34), (10, 34)]),
        ("rider", [(30, 14), (44, 14), (44, 30), (30, 30)]),
        ("bicycle", [(30, 26), (46, 26), (46, 38), (30, 38)]),
        ("bicycle", [(47, 26), (50, 26), (50, 38), (47, 38)]),
    ],
    "bonn_000000_000019": [("building", [(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)])],
}
"""Objects by image, as a `polygons.json` has them; the first image has all that is special."""


def scripts(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a module of cityscapesScripts that works with today's NumPy and writes no file of its own accord."""
    module = import_module(f"cityscapesscripts.{name}")
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    if hasattr(module, "writeDict2JSON"):
        monkeypatch.setattr(module, "writeDict2JSON", lambda *_: None)
    return module


def write_city(root: Path, monkeypatch: pytest.MonkeyPatch, split: str = "train") -> Path:
    """Write the made-up city as Cityscapes is distributed, its label files drawn by cityscapesScripts."""
    instances = scripts("preparation.json2instanceImg", monkeypatch)
    labels = scripts("preparation.json2labelImg", monkeypatch)
    for name, polygons in POLYGONS.items():
        city = name.partition("_")[0]
        pictures, truth = (root / folder / split / city for folder in ("leftImg8bit", "gtFine"))
        pictures.mkdir(parents=True, exist_ok=True)
        truth.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), "grey").save(pictures / f"{name}_leftImg8bit.png")
        drawn = [{"label": label, "polygon": points} for label, points in polygons]
        stem, document = str(truth / f"{name}_gtFine"), {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": drawn}
        Path(f"{stem}_polygons.json").write_text(json.dumps(document))
        annotation = instances.Annotation()
        annotation.fromJsonFile(f"{stem}_polygons.json")
        ids = np.array(instances.createInstanceImage(annotation, "ids"), dtype=np.uint16)
        Image.fromarray(ids).save(f"{stem}_instanceIds.png")
        labels.json2labelImg(f"{stem}_polygons.json", f"{stem}_labelTrainIds.png", "trainIds")
    return root


def average_precision(
    folder: Path, truth: dict[str, Path], found: dict[str, Instances], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Return the averages that cityscapesScripts gives for detections, whose classes are indices of `OBJECTS`."""
    module = scripts("evaluation.evalInstanceLevelSemanticLabeling", monkeypatch)
    helpers = scripts("helpers.labels", monkeypatch)
    predictions = []
    for name, one in found.items():
        lines = []
        for index, mask in enumerate(one.to_masks()):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{name}_{index}.png")
            label = helpers.name2label[OBJECTS[one.classes[index]]].id
            lines.append(f"{name}_{index}.png {label} {float(one.scores[index])!r}\n")
        predictions.append(folder / f"{name}.txt")
        predictions[-1].write_text("".join(lines))
    arguments = SimpleNamespace(**vars(module.args))
    arguments.quiet, arguments.JSONOutput = True, False
    arguments.predictionPath, arguments.gtInstancesFile = str(folder), str(folder / "none.json")
    paths = [str(truth[name]) for name in found]
    averages: dict[str, Any] = module.evaluateImgLists([str(one) for one in predictions], paths, arguments)["averages"]
    return averages
