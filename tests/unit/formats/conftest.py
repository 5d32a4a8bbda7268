"""Rows that exports have to cope with."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from segray.formats.tally import ExportSummary
from segray.masks.instances import UNLABELED, Instances
from segray.store.rows import ImageRow, LabeledRow

SIZE_HW = (90, 120)
CLASSES = ("cell", "nucleus", "yeast: bud")


def blobs() -> np.ndarray:
    """(6, H, W): blobs, a ring with an island, two parts, a line one pixel wide, a corner touch, a single pixel."""
    masks = np.zeros((6, *SIZE_HW), dtype=np.uint8)
    cv2.ellipse(masks[0], (50, 40), (33, 21), 25, 0, 360, 1, -1)
    for radius, inside in ((38, 1), (24, 0), (9, 1)):
        cv2.circle(masks[1], (62, 45), radius, inside, -1)
    cv2.rectangle(masks[2], (3, 5), (30, 41), 1, -1)
    cv2.circle(masks[2], (90, 60), 17, 1, -1)
    cv2.line(masks[3], (2, 80), (110, 12), 1, 1)
    masks[4, 10:30, 10:30] = masks[4, 30:55, 30:44] = 1
    masks[5, 89, 119] = 1
    return masks.astype(bool)


def row(image_id: str = "a.jpg", *, classes: list[int] | None = None, masks: np.ndarray | None = None) -> LabeledRow:
    """A row with blobs, or with these masks; the first half of them has stability and point."""
    dense = blobs() if masks is None else masks
    number = len(dense)
    stabilities = np.where(np.arange(number) < number / 2, 0.9625, np.nan)
    instances = Instances.from_masks(
        dense,
        provenance="sam:nano",
        scores=np.linspace(0.9, 1, number),
        classes=classes if classes is not None else [UNLABELED] * number,
        stabilities=stabilities,
        points_xy=np.stack([stabilities * 10, stabilities * 20], axis=1),
    )
    return LabeledRow(image=ImageRow(image_id=image_id, uri=f"/data/{image_id}", version="1"), instances=instances)


def refused(image_id: str, reason: str) -> LabeledRow:
    """A row without masks."""
    return LabeledRow(image=ImageRow(image_id=image_id, uri=image_id, version="1"), error=reason, detail="why")


@pytest.fixture
def left_out() -> Callable[..., dict[str, int]]:
    """`left_out(summary, kind)`: numbers of what an export did not write, by reason."""

    def of(summary: ExportSummary, kind: str = "images") -> dict[str, int]:
        return {name: count.number for name, count in summary.tally[kind].left_out.items()}

    return of


@pytest.fixture
def make_row() -> Callable[..., LabeledRow]:
    return row


@pytest.fixture
def make_refused() -> Callable[..., LabeledRow]:
    return refused


@pytest.fixture
def classes() -> tuple[str, ...]:
    return CLASSES
