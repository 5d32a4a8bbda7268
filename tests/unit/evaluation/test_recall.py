import contextlib
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segray.evaluation.recall import average_recall
from segray.masks.instances import Instances

SIZE = (40, 50)


def discs(number, seed, jitter=0.0, base=None):
    rng = np.random.default_rng(seed)
    centres = rng.random((number, 3)) * [50, 40, 8] + [0, 0, 4] if base is None else base
    moved = centres + rng.normal(0, jitter, centres.shape)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = np.stack([(x - cx) ** 2 + (y - cy) ** 2 < r**2 for cx, cy, r in moved])
    return centres, Instances.from_masks(masks, provenance="gt", scores=rng.random(number))


def scenes(number=6):
    pairs = []
    for seed in range(number):
        centres, true = discs(7, seed)
        _, found = discs(7, 100 + seed, jitter=1.2, base=centres)
        _, more = discs(5, 200 + seed)
        pairs.append((Instances.cat([found, more]), true))
    return pairs


def reference(pairs, max_masks):
    """COCO's own evaluation, without classes."""
    images = [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(len(pairs))]

    def items(which):
        for image, pair in enumerate(pairs):
            masks = pair[which]
            columns = (masks.counts, masks.areas, masks.scores, masks.classes)
            for counts, area, score, category in zip(*columns, strict=True):
                item = {"image_id": image, "category_id": int(category), "iscrowd": 0, "area": float(area)}
                item["score"] = float(score)
                yield item | {"segmentation": {"size": list(SIZE), "counts": counts}}

    true = [item | {"id": number} for number, item in enumerate(items(1), 1)]
    truth = COCO()
    truth.dataset = {"images": images, "categories": [{"id": n} for n in range(-1, 3)], "annotations": true}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(list(items(0))), "segm")
        evaluation.params.useCats = 0
        evaluation.params.maxDets = [max_masks]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["recall"][:, :, 0, 0].mean())


@pytest.mark.parametrize("max_masks", [4, 8, 1000])
def test_average_recall_is_cocos(max_masks):
    pairs = scenes()
    expected = reference(pairs, max_masks)
    assert 0.1 < expected < 0.9
    assert average_recall(pairs, max_masks) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("max_masks", [3, 5, 8])
def test_masks_of_one_score_go_by_class_as_cocos_do(max_masks):
    rng = np.random.default_rng(0)
    pairs = [
        (
            replace(found, scores=np.round(found.scores, 1), classes=rng.integers(0, 3, len(found)).astype(np.int32)),
            true,
        )
        for found, true in scenes(20)
    ]
    assert average_recall(pairs, max_masks) == pytest.approx(reference(pairs, max_masks), abs=1e-9)


def test_perfect_masks_are_all_found():
    _, true = discs(7, 0)
    assert average_recall([(true, true)]) == 1


@pytest.mark.parametrize(("found", "expected"), [(0, 0.0), (3, 0.0)])
def test_nothing_found_is_nothing(found, expected):
    _, true = discs(4, 0)
    other = Instances.from_masks(np.zeros((found, *SIZE), bool), provenance="x")
    assert average_recall([(other, true)]) == expected


def test_nothing_to_find_is_no_number():
    _, found = discs(4, 0)
    assert math.isnan(average_recall([(found, Instances.empty(SIZE))]))
