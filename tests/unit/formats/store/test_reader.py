"""A store as a source: its images and masks, whichever way they are asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segray.errors import SourceError
from segray.formats.store import StoreSource
from segray.formats.store.reader import StoredLabels
from segray.store import Store
from segray.store.rows import LabeledRow

MakeRow = Callable[..., LabeledRow]
IDS = [f"{number}.jpg" for number in range(3)]


def masks(rows_covered: int) -> np.ndarray:
    covered = np.zeros((1, 6, 8), dtype=bool)
    covered[0, :rows_covered] = True
    return covered


@pytest.fixture
def source(tmp_path: Path, make_row: MakeRow, make_refused: MakeRow) -> StoredLabels:
    """Three images in two parts, older versions and a refused image in others; image i has i + 1 pixel rows covered."""
    store = Store.create(str(tmp_path), "labels", {"classes": ["cat", "dog"]})
    rows = [make_row(image_id, classes=[1], masks=masks(number + 1)) for number, image_id in enumerate(IDS)]
    older = [replace(row, image=replace(row.image, version="0"), instances=rows[0].instances) for row in rows]
    for part in (older, rows[:2], rows[2:], [make_refused("refused.jpg", "damaged")]):
        store.write_part(part)
    return StoredLabels(StoreSource(uri=store.uri))


def test_images_and_classes_without_what_was_refused(source: StoredLabels) -> None:
    assert source.classes == ("cat", "dog")
    assert sorted((row.image_id, row.version) for row in source.rows()) == [(image_id, "1") for image_id in IDS]
    assert source.tally["images"].left_out["damaged"].examples == ["refused.jpg"]
    assert source.tally["images"].damaged == 1


@pytest.mark.parametrize(
    "order",
    [IDS, IDS[::-1], [IDS[1], IDS[1]]],
    ids=["in-order", "backwards", "twice"],
)
def test_masks_in_any_order(source: StoredLabels, order: list[str]) -> None:
    found = [source.instances(image_id) for image_id in order]
    assert [one.areas.tolist() for one in found if one] == [[8 * (IDS.index(image_id) + 1)] for image_id in order]


def test_masks_while_images_are_streamed(source: StoredLabels) -> None:
    areas = {row.image_id: int(found.areas[0]) for row in source.rows() if (found := source.instances(row.image_id))}
    assert areas == {image_id: 8 * (number + 1) for number, image_id in enumerate(IDS)}


@pytest.mark.parametrize("image_id", ["refused.jpg", "elsewhere.jpg"])
def test_no_masks(source: StoredLabels, image_id: str) -> None:
    assert source.instances(image_id) is None


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        StoredLabels(StoreSource(uri=str(tmp_path / "nowhere")))
