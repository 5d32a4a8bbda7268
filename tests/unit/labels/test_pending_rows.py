import pytest

from segray.labels.pending_rows import CHUNK, PendingRows
from segray.store.rows import ImageRow, image_rows


def rows(number):
    return (ImageRow(image_id=f"{i:06d}", uri=f"/x/{i}", version="1") for i in range(number))


def ids(parts):
    return [[row.image_id for row in image_rows(part)] for part in parts]


@pytest.mark.parametrize("number", [0, 1, 31, 32, 33, CHUNK, CHUNK * 2 + 5])
@pytest.mark.parametrize("per_part", [1, 32, 5000])
def test_parts_hold_every_row_once_in_order(number, per_part):
    if number > 100 and per_part == 1:
        per_part = 7
    with PendingRows(rows(number)) as plan:
        parts = ids(plan.parts(per_part))
    assert plan.number == number
    assert [one for part in parts for one in part] == [f"{i:06d}" for i in range(number)]
    assert all(len(part) == per_part for part in parts[:-1])


@pytest.mark.parametrize(("number", "wanted", "given"), [(100, 10, 10), (5, 10, 5), (CHUNK + 3, 40, 40), (0, 3, 0)])
def test_a_sample_is_drawn_without_replacement_and_by_seed(number, wanted, given):
    with PendingRows(rows(number)) as plan:
        chosen = plan.sample(wanted, seed=1)
        parts = ids(plan.parts(8, chosen))
        assert plan.sample(wanted, seed=1) == chosen
    found = [one for part in parts for one in part]
    assert len(found) == len(set(found)) == given
    assert found == [f"{i:06d}" for i in sorted(chosen)]


def test_other_seeds_draw_other_samples():
    with PendingRows(rows(1000)) as plan:
        assert plan.sample(50, seed=1) != plan.sample(50, seed=2)
