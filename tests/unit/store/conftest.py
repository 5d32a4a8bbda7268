from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from segray.masks.instances import Instances
from segray.store import Store
from segray.store.rows import ImageRow, LabeledRow, labeled_rows


@pytest.fixture
def image() -> Callable[..., ImageRow]:
    def make(name: str, version: str = "1") -> ImageRow:
        return ImageRow(image_id=name, uri=f"/photos/{name}", version=version)

    return make


@pytest.fixture
def row(image: Callable[..., ImageRow]) -> Callable[..., LabeledRow]:
    """A row whose masks are decided by its name, so that what is read can be told from what was written."""

    def make(
        name: str, version: str = "1", *, error: str | None = None, num_masks: int = 2, mask_bytes: int = 20
    ) -> LabeledRow:
        if error is not None:
            return LabeledRow(image=image(name, version), error=error, detail=f"of {name}", seconds=0.5)
        random = np.random.default_rng(list(f"{name}/{version}".encode()))
        counts = np.empty(num_masks, object)
        counts[:] = [random.bytes(mask_bytes) for _ in range(num_masks)]
        found = Instances(
            size_hw=(5, 7),
            counts=counts,
            boxes_xyxy=random.random((num_masks, 4), np.float32),
            areas=random.integers(0, 35, num_masks),
            scores=random.random(num_masks, np.float32),
            classes=np.full(num_masks, -1, np.int32),
            stabilities=np.full(num_masks, np.nan, np.float32),
            points_xy=random.random((num_masks, 2), np.float32),
            provenance=np.array(["sam:nano"] * num_masks, object),
            ids=np.array([f"{name}-{index}" for index in range(num_masks)], object),
            attributes=np.array([f'{{"seen": {index}}}' for index in range(num_masks)], object),
            file_areas=np.full(num_masks, np.nan),
        )
        return LabeledRow(image=image(name, version), instances=found, seconds=0.25)

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(str(tmp_path / "stores"), "masks", {"threshold": 0.88})


@pytest.fixture
def read() -> Callable[..., list[LabeledRow]]:
    def make(store: Store, **options: object) -> list[LabeledRow]:
        found = [row for batch in store.rows(**options) for row in labeled_rows(batch)]  # type: ignore[arg-type]
        return sorted(found, key=lambda row: (row.image.image_id, row.image.version))

    return make


@pytest.fixture
def ids() -> Callable[[Iterable[LabeledRow]], list[str]]:
    """What rows were read, as `name@version`, and `!reason` where one holds an error."""

    def make(rows: Iterable[LabeledRow]) -> list[str]:
        return [f"{row.image.image_id}@{row.image.version}" + (f"!{row.error}" if row.error else "") for row in rows]

    return make
