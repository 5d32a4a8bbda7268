"""Pairs of masks: one to one, greatest sum, class and overlap as asked."""

import numpy as np
import pytest

from segray.masks import matching
from segray.masks.instances import Instances


def stripes(*spans: tuple[int, int], classes: list[int] | None = None) -> Instances:
    masks = np.zeros((len(spans), 4, 40), dtype=bool)
    for mask, (start, stop) in zip(masks, spans, strict=True):
        mask[:, start:stop] = True
    return Instances.from_masks(masks, provenance="gt", classes=classes or [0] * len(spans))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Best first would pair (0, 0) with 0.9 and leave 1 without.
        ([[0.9, 0.8], [0.7, 0.0]], [(0, 1), (1, 0)]),
        ([[0.0, 0.0]], []),
        ([[0.2], [0.6], [0.1]], [(1, 0)]),
        (np.zeros((0, 3)), []),
        (np.zeros((2, 0)), []),
    ],
)
def test_pairs(values: object, expected: list[tuple[int, int]]) -> None:
    rows, columns = matching.best_pairs(np.asarray(values, dtype=np.float64))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (stripes((0, 10), (20, 30)), [(0, 0), (1, 1)]),
        (stripes((0, 10), (20, 30), classes=[0, 1]), [(0, 0)]),
        (stripes((0, 5), (0, 4)), [(0, 0)]),
        (stripes((0, 4)), []),
        (stripes(), []),
    ],
    ids=["both", "other class", "half is enough", "less is not", "none"],
)
def test_right(found: Instances, expected: list[tuple[int, int]]) -> None:
    rows, columns = matching.correct_pairs(found, stripes((0, 10), (20, 30)))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == expected
