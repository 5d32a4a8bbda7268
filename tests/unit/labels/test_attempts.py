"""A part that is done again after the process ended on it; `Death` stands for that end."""

from dataclasses import dataclass, field

import pytest

from segray.errors import DeviceError, LabelError
from segray.labels import attempts
from segray.labels.attempts import Attempt, PartGivenBackError
from segray.masks.instances import Instances
from segray.storage import files
from segray.store.rows import ImageRow, LabeledRow

ROWS = [ImageRow(image_id=name, uri=f"{name}.png", version="1") for name in "abcd"]


class Death(BaseException):
    pass


@dataclass
class Labeler:
    """Dies at `deadly` images, alone or among others, so many times."""

    deadly: dict[str, int]
    calls: list[str] = field(default_factory=list)

    def __call__(self, rows):
        self.calls.append("".join(row.image_id for row in rows))
        for row in rows:
            if self.deadly.get(row.image_id, 0):
                self.deadly[row.image_id] -= 1
                raise Death
            yield LabeledRow(image=row, sha256="0" * 64, instances=Instances.empty((8, 8)), seconds=1.0)


def until_done(store, labeler):
    """As Ray does it: again whenever the process ends. The rows, and how often it ended."""
    for deaths in range(20):
        attempt = Attempt(store, ROWS)
        try:
            rows = list(attempt.label(labeler))
        except Death:
            continue
        attempt.done()
        return rows, deaths
    pytest.fail("without end")


def said(rows):
    return {row.image.image_id: row.error for row in rows}


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    return str(tmp_path) if request.param == "disk" else f"memory://{tmp_path}/store"


def test_a_part_that_goes_well_is_labeled_at_once_and_leaves_nothing(store):
    labeler = Labeler({})
    rows, _ = until_done(store, labeler)
    assert labeler.calls == ["abcd"]
    assert len(rows) == 4
    assert list(files.list_files(store)) == []


@pytest.mark.parametrize(
    ("deadly", "refused", "deaths"),
    [
        ({"b": 99}, {"b"}, 3),
        ({"b": 99, "d": 99}, {"b", "d"}, 5),
        ({"b": 1}, set(), 1),
        ({"b": 2}, set(), 2),
        ({"a": 1, "c": 1}, set(), 2),
    ],
    ids=["always", "two of them", "with the machine", "twice", "machines come and go"],
)
def test_what_ends_its_process_each_time_is_refused_and_nothing_else(store, deadly, refused, deaths):
    rows, died = until_done(store, Labeler(dict(deadly)))
    assert [row.image.image_id for row in rows] == list("abcd")
    assert said(rows) == {name: attempts.REASON if name in refused else None for name in "abcd"}
    assert died == deaths


def test_another_part_or_version_begins_anew(store):
    with pytest.raises(Death):
        list(Attempt(store, ROWS).label(Labeler({"b": 1})))
    for rows in (ROWS[:2], [ImageRow(image_id=row.image_id, uri=row.uri, version="2") for row in ROWS]):
        labeler = Labeler({})
        list(Attempt(store, rows).label(labeler))
        assert len(labeler.calls) == 1


def test_notes_of_jobs_that_are_gone_are_forgotten(store):
    with pytest.raises(Death):
        list(Attempt(store, ROWS).label(Labeler({"b": 1})))
    attempts.forget(store)
    assert list(files.list_files(store)) == []
    attempts.forget(store)


def die(store, deadly, times, earlier=None):
    for _ in range(times):
        with pytest.raises(Death):
            list(Attempt(store, ROWS, earlier).label(Labeler(dict.fromkeys(deadly, 99))))


@pytest.mark.parametrize(
    ("times", "blame_last", "earlier"),
    [(1, True, {}), (2, False, {}), (2, True, {"b 1": 1}), (3, False, {"b 1": 1}), (3, True, {"b 1": 2})],
)
def test_the_next_run_knows_at_which_images_processes_ended(store, times, blame_last, earlier):
    die(store, "b", times)
    assert attempts.carry_over(store, blame_last=blame_last) == earlier
    assert attempts.carry_over(store, blame_last=blame_last) == earlier


def test_another_cut_of_the_images_is_still_warned_of_one(store):
    die(store, "b", 3)
    earlier = attempts.carry_over(store, blame_last=True)
    labeler = Labeler({})
    rows = list(Attempt(store, ROWS[1:], earlier).label(labeler))
    assert said(rows) == {"b": attempts.REASON, "c": None, "d": None}
    assert labeler.calls == ["c", "d"]


class BrokenDevice(Labeler):
    """Raises at its deadly images, as a device that no longer answers does."""

    def __call__(self, rows):
        try:
            yield from super().__call__(rows)
        except Death as death:
            raise DeviceError("it does not answer") from death


@pytest.mark.parametrize(("failures", "refused"), [(1, set()), (2, set()), (3, set()), (4, {"b"})])
def test_a_broken_device_is_given_the_part_twice_before_the_image_is_blamed(store, failures, refused):
    labeler, ends, given_back = BrokenDevice({"b": failures}), 0, 0
    for _ in range(20):
        attempt = Attempt(store, ROWS)
        try:
            rows = list(attempt.label(labeler))
            break
        except DeviceError:
            ends += 1
        except PartGivenBackError:
            given_back += 1
    assert {name for name, error in said(rows).items() if error} == refused
    assert (ends, given_back) == (failures, failures // 2)


def test_processes_that_end_without_end_stop_the_job(store, monkeypatch):
    monkeypatch.setattr(attempts, "MAX_IN_A_ROW", 5)
    die(store, "abcd", 5)
    with pytest.raises(LabelError, match=r"ended 5 times in a row .*, at a, b"):
        list(Attempt(store, ROWS).label(Labeler({})))
