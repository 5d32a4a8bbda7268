import numpy as np
import pyarrow as pa
import pytest

from segray.masks.instances import Instances
from segray.store import rows


def image(name, version="1"):
    return rows.ImageRow(image_id=name, uri=f"/data/{name}", version=version)


def labeled():
    masks = np.random.default_rng(0).random((3, 5, 6)) < 0.5
    found = Instances.from_masks(
        masks, provenance="sam:nano", scores=[0.1, 0.2, 0.3], stabilities=[1, 0.5, 0], points_xy=[[1, 2]] * 3
    )
    return [
        rows.LabeledRow(image=image("a"), instances=found, sha256="00", seconds=0.5),
        rows.LabeledRow(image=image("b"), error="damaged", detail="ends after 10 bytes"),
        rows.LabeledRow(image=image("c"), instances=Instances.empty((4, 7))),
        rows.LabeledRow(image=image("d"), instances=found.filter(np.array([2]))),
    ]


def same(first, second):
    if (first.instances is None) != (second.instances is None):
        return False
    if first.instances is not None and second.instances is not None:
        for name in ("boxes_xyxy", "areas", "scores", "classes", "stabilities", "points_xy"):
            np.testing.assert_array_equal(getattr(first.instances, name), getattr(second.instances, name))
        assert list(first.instances.counts) == list(second.instances.counts)
        assert list(first.instances.provenance) == list(second.instances.provenance)
        assert first.instances.size_hw == second.instances.size_hw
    return (first.image, first.error, first.detail, first.sha256) == (
        second.image,
        second.error,
        second.detail,
        second.sha256,
    )


@pytest.mark.parametrize("part", [slice(None), slice(1, None), slice(2, 4), slice(0, 0)], ids=str)
def test_rows_survive_arrow_also_sliced(part):
    written = labeled()
    table = rows.labeled_table(written)
    assert table.schema.equals(rows.LABELED)
    start, stop, _ = part.indices(len(written))
    read = rows.labeled_rows(table.slice(start, stop - start))
    assert len(read) == len(written[part])
    assert all(same(one, other) for one, other in zip(read, written[part], strict=True))


def test_chunked_tables_are_read_in_order():
    table = pa.concat_tables([rows.labeled_table(labeled()), rows.labeled_table(labeled())])
    assert [row.image.image_id for row in rows.labeled_rows(table)] == list("abcdabcd")


def test_no_rows_make_an_empty_table():
    assert rows.labeled_rows(rows.labeled_table([])) == []


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (image("a"), image("a"), True),
        (image("a"), image("a", "2"), False),
        (image("a"), image("b"), False),
        (image("a1", "2"), image("a", "12"), False),
    ],
)
def test_keys_tell_images_and_versions_apart(first, second, equal):
    assert (first.key == second.key) is equal


@pytest.mark.parametrize("fields", [{}, {"error": "x", "instances": Instances.empty((1, 1))}])
def test_a_row_holds_masks_or_an_error(fields):
    with pytest.raises(ValueError, match="either instances or an error"):
        rows.LabeledRow(image=image("a"), **fields)
