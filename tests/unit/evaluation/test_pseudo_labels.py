"""Quality of label sets, on stripes whose overlaps can be told by hand."""

import math
import pickle

import numpy as np
import pytest

from segray.evaluation.average_precision import CROWD
from segray.evaluation.pseudo_labels import PseudoLabelQuality
from segray.masks.instances import Instances


def stripes(*spans: tuple[int, int, int], provenance: object = "gt") -> Instances:
    """(start, stop, class) each."""
    masks = np.zeros((len(spans), 4, 100), dtype=bool)
    for mask, (start, stop, _) in zip(masks, spans, strict=True):
        mask[:, start:stop] = True
    return Instances.from_masks(masks, provenance=provenance, classes=[one[2] for one in spans])


TRUE = stripes((0, 10, 0), (20, 40, 0), (50, 60, 1))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (TRUE, {"labels": 3, "precision": 1, "recall": 1, "matched_iou": 1, "best_iou": 1, "class_accuracy": 1}),
        (
            stripes((0, 8, 0), (20, 36, 0)),
            {"labels": 2, "precision": 1, "recall": 2 / 3, "matched_iou": 0.8, "best_iou": 0.8, "class_accuracy": 1},
        ),
        # One too many on the same object, one of the wrong class, one nowhere.
        (
            stripes((0, 10, 0), (0, 9, 0), (50, 60, 0), (80, 90, 1)),
            {
                "labels": 4,
                "precision": 0.25,
                "recall": 1 / 3,
                "matched_iou": 1,
                "best_iou": 2.9 / 4,
                "class_accuracy": 0.5,
            },
        ),
        # Too small to be right, yet paired.
        (
            stripes((20, 28, 0)),
            {"labels": 1, "precision": 0, "recall": 0, "matched_iou": 0.4, "best_iou": 0.4, "class_accuracy": math.nan},
        ),
        (
            stripes(),
            {"labels": 0, "precision": math.nan, "recall": 0, "matched_iou": math.nan, "best_iou": math.nan},
        ),
    ],
    ids=["perfect", "too narrow", "wrong ones", "half", "none"],
)
def test_one_set(labels: Instances, expected: dict[str, float]) -> None:
    quality = PseudoLabelQuality()
    quality.add(labels, TRUE, TRUE)
    before = quality.before()
    assert {name: getattr(before, name) for name in expected} == pytest.approx(expected, nan_ok=True)
    assert before.true == 3


def test_refinement_shows_as_the_difference() -> None:
    quality = PseudoLabelQuality()
    quality.add(stripes((0, 4, 0), (20, 36, 0)), stripes((0, 9, 0), (20, 40, 0)), TRUE)
    before, after = quality.before(), quality.after()
    assert (before.precision, after.precision) == (0.5, 1.0)
    assert (before.matched_iou, after.matched_iou) == pytest.approx((0.6, 0.95))


def test_labels_in_crowds_are_not_counted() -> None:
    true = stripes((0, 10, 0), (50, 100, 0), provenance=["gt", CROWD])
    quality = PseudoLabelQuality()
    labels = stripes((0, 10, 0), (60, 70, 0), (46, 51, 0))
    quality.add(labels, labels, true)
    found = quality.before()
    assert (found.labels, found.true, found.precision) == (2, 1, 0.5)


def test_parts_of_workers_add_up() -> None:
    images = [(stripes((0, 4 + n, 0)), stripes((0, 9, 0)), TRUE) for n in range(5)]
    whole, parts = PseudoLabelQuality(), [PseudoLabelQuality(), PseudoLabelQuality()]
    for index, image in enumerate(images):
        whole.add(*image)
        parts[index % 2].add(*image)
    merged = pickle.loads(pickle.dumps(parts[0]))
    merged.merge(parts[1])
    assert merged.images == 5
    assert merged.before() == whole.before()
    assert merged.after() == whole.after()


def test_figures_have_names_and_values() -> None:
    quality = PseudoLabelQuality()
    assert quality.figures()["labels_before/labels"] == 0
    assert "labels_before/precision" not in quality.figures()
    quality.add(stripes((0, 8, 0)), TRUE, TRUE)
    assert quality.figures()["labels_before/matched_iou"] == pytest.approx(0.8)
    assert quality.figures()["labels_after/recall"] == 1
