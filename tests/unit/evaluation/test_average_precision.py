"""Mask AP: by hand where it can be told by hand, by pycocotools elsewhere."""

import math
import pickle
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segray.evaluation.average_precision import CROWD, ApResult, AveragePrecision
from segray.masks.instances import Instances

SIZE_HW = (160, 200)
CLASSES = ("cell", "dot", "never")


def boxes(*corners: tuple[int, int, int, int], provenance: object = "gt", **columns: object) -> Instances:
    masks = np.zeros((len(corners), *SIZE_HW), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    return Instances.from_masks(masks, provenance=provenance, **({"classes": [0] * len(corners)} | columns))


def random_image(rng: np.random.Generator, number: int) -> tuple[Instances, Instances]:
    """Many small objects, some crowds, and finds that are near them, double, of the wrong class or nowhere."""
    starts = rng.integers(0, 50, (number, 2))
    sides = rng.choice([4, 20, 55, 100], (number, 1)) + rng.integers(0, 6, (number, 2))
    corners = np.concatenate([starts, starts + sides], axis=1)
    classes = rng.integers(0, 2, number)
    crowds = rng.random(number) < 0.15
    true = boxes(*corners, classes=classes, provenance=[CROWD if crowd else "gt" for crowd in crowds])
    chosen = rng.integers(0, number, 2 * number) if number else np.zeros(0, dtype=int)
    moved = np.clip(corners[chosen] + rng.integers(-2, 3, (len(chosen), 4)), 0, 160)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    found_classes = np.where(rng.random(len(chosen)) < 0.2, 1 - classes[chosen], classes[chosen])
    # One decimal: many scores tie, within images and across.
    scores = np.round(rng.random(len(chosen)), 1)
    return boxes(*moved, classes=found_classes, scores=scores, provenance="student"), true


def by_pycocotools(images: list[tuple[Instances, Instances]], max_dets: int) -> np.ndarray:
    """(10, 101, K, 4) precision."""
    sides: list[list[dict[str, object]]] = [[], []]
    for number, pair in enumerate(images):
        for side, one in zip(sides, pair, strict=True):
            for row in range(len(one)):
                side.append(
                    {
                        "id": len(side) + 1,
                        "image_id": number,
                        "category_id": int(one.classes[row]),
                        "segmentation": {"size": list(SIZE_HW), "counts": one.counts[row].decode()},
                        "area": float(one.coco_areas()[row]),
                        "iscrowd": int(one.provenance[row] == CROWD),
                        "score": float(one.scores[row]),
                    }
                )
    apis = []
    for side in sides:
        api = COCO()
        api.dataset = {
            "images": [{"id": n, "height": SIZE_HW[0], "width": SIZE_HW[1]} for n in range(len(images))],
            "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES)],
            "annotations": side,
        }
        with redirect_stdout(StringIO()):
            api.createIndex()
        apis.append(api)
    with redirect_stdout(StringIO()):
        matching = COCOeval(apis[1], apis[0], "segm")
        matching.params.maxDets = [max_dets]
        matching.evaluate()
        matching.accumulate()
    return matching.eval["precision"][..., 0]


def gathered(images: list[tuple[Instances, Instances]], max_dets: int = 100) -> AveragePrecision:
    ap = AveragePrecision(CLASSES, max_dets)
    for number, (found, true) in enumerate(images):
        ap.add(f"{number:04d}", found, true)
    return ap


def same(first: ApResult, second: ApResult) -> bool:
    return repr(first) == repr(second)


def test_what_is_found_exactly_scores_one() -> None:
    true = boxes((0, 0, 10, 10), (20, 20, 80, 80), (0, 0, 150, 150), classes=[0, 1, 1])
    result = gathered([(true, true)]).result()
    assert (result.ap, result.ap50, result.ap75) == (1, 1, 1)
    assert (result.ap_small, result.ap_medium, result.ap_large) == (1, 1, 1)
    assert result.num_images == 1


def test_a_class_without_objects_is_not_in_the_mean() -> None:
    true = boxes((0, 0, 10, 10))
    wrong = boxes((0, 0, 10, 10), (50, 50, 60, 60), classes=[0, 2])
    result = gathered([(wrong, true)]).result()
    assert result.ap == 1
    assert math.isnan(result.per_class["never"])
    named = result.figures()
    assert {name for name in named if name.startswith("ap/")} == {"ap/cell"}
    assert named["ap50"] == 1
    assert "ap_large" not in named


@pytest.mark.parametrize(
    ("found", "true", "ap50"),
    [
        (Instances.empty(SIZE_HW), boxes((0, 0, 10, 10)), 0.0),
        (boxes((0, 0, 10, 10)), Instances.empty(SIZE_HW), math.nan),
        (Instances.empty(SIZE_HW), Instances.empty(SIZE_HW), math.nan),
        # The better-scored find is wrong: precision 1/2 at every recall.
        (boxes((90, 90, 99, 99), (0, 0, 10, 10), scores=[0.9, 0.8]), boxes((0, 0, 10, 10)), 0.5),
        # The same, but the wrong one lies in a crowd.
        (
            boxes((90, 90, 99, 99), (0, 0, 10, 10), scores=[0.9, 0.8]),
            boxes((0, 0, 10, 10), (80, 80, 120, 120), provenance=["gt", CROWD]),
            1.0,
        ),
    ],
    ids=["nothing found", "nothing there", "nothing at all", "wrong one first", "wrong one in a crowd"],
)
def test_by_hand(found: Instances, true: Instances, ap50: float) -> None:
    assert gathered([(found, true)]).result().ap50 == pytest.approx(ap50, nan_ok=True)


def test_no_image_at_all() -> None:
    assert math.isnan(AveragePrecision(CLASSES).result().ap)


def test_size_bins_go_by_the_areas_that_a_file_gives() -> None:
    rng = np.random.default_rng(3)
    images = [random_image(rng, 12) for _ in range(8)]
    said = [
        (found, replace(true, file_areas=true.areas * rng.choice([0.4, 1, 2.5], len(true)))) for found, true in images
    ]
    result, expected, measured = gathered(said).result(), by_pycocotools(said, 100), gathered(images).result()
    bins = [float(part[part > -1].mean()) for part in (expected[:, :, :, index] for index in (1, 2, 3))]
    assert [result.ap_small, result.ap_medium, result.ap_large] == pytest.approx(bins, abs=1e-12)
    assert result.ap_medium != pytest.approx(measured.ap_medium, abs=1e-3)


@pytest.mark.parametrize(("max_dets", "per_image"), [(100, 12), (5, 12), (300, 150)], ids=["usual", "few", "over 100"])
def test_agrees_with_pycocotools(max_dets: int, per_image: int) -> None:
    rng = np.random.default_rng(max_dets)
    images = [random_image(rng, int(rng.integers(0, per_image + 1))) for _ in range(8)] + [random_image(rng, per_image)]
    result, expected = gathered(images, max_dets).result(), by_pycocotools(images, max_dets)

    def mean(part: np.ndarray) -> float:
        return float(part[part > -1].mean())

    assert 0.05 < result.ap < 0.95
    assert result.ap == pytest.approx(mean(expected[:, :, :, 0]), abs=1e-12)
    assert result.ap50 == pytest.approx(mean(expected[0, :, :, 0]), abs=1e-12)
    assert result.ap75 == pytest.approx(mean(expected[5, :, :, 0]), abs=1e-12)
    areas = [mean(expected[:, :, :, index]) for index in (1, 2, 3)]
    assert [result.ap_small, result.ap_medium, result.ap_large] == pytest.approx(areas, abs=1e-12)
    assert result.per_class["dot"] == pytest.approx(mean(expected[:, :, 1, 0]), abs=1e-12)


def test_finds_beyond_a_hundred_count() -> None:
    true = boxes(*[(x, y, x + 6, y + 6) for x in range(0, 196, 10) for y in range(0, 80, 10)])
    assert len(true) == 160
    assert gathered([(true, true)], max_dets=200).result().ap == 1
    assert gathered([(true, true)], max_dets=80).result().ap == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("world", [2, 3])
def test_shards_give_the_same_result(world: int) -> None:
    rng = np.random.default_rng(world)
    images = [(f"{number:04d}", *random_image(rng, 9)) for number in range(7)]
    whole, parts = AveragePrecision(CLASSES), [AveragePrecision(CLASSES) for _ in range(world)]
    for index, image in enumerate(images):
        whole.add(*image)
        parts[index % world].add(*image)
    merged = AveragePrecision(CLASSES)
    for part in reversed(parts):
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert same(merged.result(), whole.result())


def test_refuses_what_would_be_counted_wrong() -> None:
    one = boxes((0, 0, 10, 10))
    ap = gathered([(one, one)])
    with pytest.raises(ValueError, match="added before"):
        ap.add("0000", one, one)
    with pytest.raises(ValueError, match="class ids"):
        ap.add("0001", boxes((0, 0, 10, 10), classes=[3]), one)
    with pytest.raises(ValueError, match=r"found masks are of \(160, 200\), the true ones of \(200, 160\)"):
        ap.add("0001", one, Instances.empty(SIZE_HW[::-1]))
    with pytest.raises(ValueError, match="both parts"):
        ap.merge(gathered([(one, one)]))
    with pytest.raises(ValueError, match="cannot be merged"):
        ap.merge(AveragePrecision(CLASSES, 7))
