"""Results beside their annotation file, with pycocotools as the reader."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segray.evaluation.average_precision import AveragePrecision
from segray.formats.coco import CocoSource
from segray.formats.coco.ids import CocoIds, coco_ids_of
from segray.formats.coco.results import coco_results
from segray.formats.registry import open_source
from segray.formats.tally import image_number
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance

SIZE_HW = (24, 32)
CATEGORIES = {90: "cat", 7: "dog", 18: "old dog"}


def squares(rng, number):
    masks = np.zeros((number, *SIZE_HW), bool)
    for mask in masks:
        y, x = rng.integers(0, 16, 2)
        mask[y : y + rng.integers(4, 12), x : x + rng.integers(4, 14)] = True
    return masks


@pytest.fixture
def source(tmp_path):
    """Five images whose numbers are not their places, and categories that are not in their order."""
    rng, annotations = np.random.default_rng(1), []
    images = [{"id": 1000 + 7 * place, "file_name": f"{place}.png", "height": 24, "width": 32} for place in range(5)]
    for image in images:
        found = Instances.from_masks(squares(rng, 4), provenance=Provenance.GT).to_coco(image["id"])
        for one in found:
            category = int(rng.choice(list(CATEGORIES)))
            annotations.append(one | {"id": len(annotations) + 1, "category_id": category})
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return open_source(CocoSource(uri=str(tmp_path), annotations=str(path))), path


def quietly(call):
    with contextlib.redirect_stdout(io.StringIO()):
        return call()


def test_pycocotools_reads_them_and_measures_the_same(source, tmp_path):
    truth, path = source
    rng, results, ours = np.random.default_rng(2), [], AveragePrecision(truth.classes)
    for place in range(5):
        name, true = f"{place}.png", truth.instances(f"{place}.png")
        near = np.roll(true.to_masks(), int(rng.integers(-2, 3)), axis=1)
        masks = np.concatenate([near, squares(rng, 3)])
        scores = rng.random(len(masks)).astype(np.float32)
        classes = np.concatenate([true.classes, rng.integers(0, 3, 3)])
        found = Instances.from_masks(masks, provenance=Provenance.STUDENT, scores=scores, classes=classes)
        ours.add(name, found, true)
        results += coco_results(name, found, truth.classes, coco_ids_of(truth))
    (tmp_path / "predictions.json").write_text(json.dumps(results))
    annotations = quietly(lambda: COCO(str(path)))
    loaded = quietly(lambda: annotations.loadRes(str(tmp_path / "predictions.json")))
    measured = COCOeval(annotations, loaded, "segm")
    for step in (measured.evaluate, measured.accumulate, measured.summarize):
        quietly(step)
    figures = ours.result().figures()
    assert 0.1 < measured.stats[0] < 0.9
    assert [figures["ap"], figures["ap50"], figures["ap75"]] == pytest.approx(list(measured.stats[:3]), abs=1e-12)


def test_without_a_coco_file_the_numbers_are_those_of_exports():
    found = Instances.from_masks(np.ones((2, 4, 4), bool), provenance=Provenance.STUDENT, classes=[1, 0])
    first, second = coco_results("a.png", found, ("cat", "dog"), CocoIds())
    assert first["image_id"] == second["image_id"] == image_number("a.png")
    assert (first["category_id"], second["category_id"]) == (2, 1)


def test_a_class_that_the_file_does_not_have_takes_no_number_of_another(source):
    found = Instances.from_masks(np.ones((1, 4, 4), bool), provenance=Provenance.STUDENT, classes=[0])
    (one,) = coco_results("0.png", found, ("bird",), coco_ids_of(source[0]))
    assert one["category_id"] not in CATEGORIES
    assert one["image_id"] == 1000
