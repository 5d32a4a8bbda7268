"""Tallies: sums, lines for people, the way to JSON and back, and the bound on what is damaged."""

import json
import pickle

import pytest

from segray.errors import DamageError
from segray.tally import Reason, Tally

CROWD = Reason("crowd", 'have iscrowd 1 and are left out; `crowds = "masks"` takes them')
CUT = Reason("cut", "are cut short", is_damage=True)
PALE = Reason("pale", "are pale")


def tally(used: int = 0, crowds: int = 0, cut: int = 0) -> Tally:
    found = Tally()
    found.use("annotations", used)
    for index in range(crowds):
        found.leave_out("annotations", CROWD, f"annotation {index}")
    for index in range(cut):
        found.leave_out("images", CUT, f"s{index}.png")
    return found


def test_lines_say_how_many_of_how_many_and_name_three() -> None:
    assert tally(used=12, crowds=12).lines() == [
        "24 annotations read, 12 used",
        '  12 of 24 annotations have iscrowd 1 and are left out; `crowds = "masks"` takes them',
        "    annotation 0, annotation 1, annotation 2, ...",
    ]


def test_one_thing_is_spoken_of_as_one() -> None:
    found = tally(crowds=1)
    found.use("classes")
    assert found.lines() == [
        "1 annotation read, 0 used",
        '  1 of 1 annotations has iscrowd 1 and is left out; `crowds = "masks"` takes them',
        "    annotation 0",
        "1 class read, all used",
    ]


def test_nothing_counted_is_no_line() -> None:
    assert Tally().lines() == []
    assert tally().kinds == {}


def test_notes_are_of_things_that_are_used() -> None:
    found = Tally()
    found.use("images", 3)
    found.note("images", PALE, "s0.png")
    assert (found["images"].read, found["images"].used) == (3, 3)
    assert found.lines() == ["3 images read, all used", "  1 of 3 images is pale", "    s0.png"]


def test_tallies_of_several_workers_add_up() -> None:
    whole = Tally.merged([tally(used=2, crowds=1), tally(crowds=5), tally(cut=1)])
    assert (whole["annotations"].read, whole["annotations"].used) == (8, 2)
    assert whole["annotations"].left_out["crowd"].examples == ["annotation 0", "annotation 1", "annotation 2"]
    assert whole["images"].damaged == 1
    assert whole["files"].read == 0


def test_json_and_pickle_keep_everything() -> None:
    found = tally(used=1, crowds=5, cut=2)
    found.note("annotations", PALE)
    assert Tally.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert pickle.loads(pickle.dumps(found)) == found
    assert found.to_json()["annotations"]["left_out"][0] == {
        "name": "crowd",
        "text": CROWD.text,
        "is_damage": False,
        "number": 5,
        "examples": ["annotation 0", "annotation 1", "annotation 2"],
    }


@pytest.mark.parametrize(
    ("used", "cut", "bound", "stops"), [(19, 1, 0.05, False), (18, 1, 0.05, True), (0, 1, 1, False), (5, 1, 0, True)]
)
def test_damage_stops_beyond_the_bound(used: int, cut: int, bound: float, stops: bool) -> None:
    found = tally(cut=cut)
    found.use("images", used)
    if not stops:
        found.check(bound)
        return
    with pytest.raises(DamageError, match=rf"{cut} of {used + cut} images .*max_damaged") as caught:
        found.check(bound)
    assert "s0.png" in str(caught.value)


def test_a_choice_never_stops() -> None:
    tally(crowds=100).check(0)


@pytest.mark.parametrize(
    ("damaged", "number", "bound", "stops"),
    [
        (0, 0, 0.05, False),
        (0, 64, 0, False),
        (1, 64, 0, True),
        (1, 4, 0.05, False),
        (2, 2, 0.05, True),
        (9, 64, 0.05, True),
        (8, 64, 0.05, False),
        (64, 64, 1, False),
    ],
)
def test_a_sample_stops_only_what_is_surely_damaged_beyond_the_bound(damaged, number, bound, stops) -> None:
    found = Tally()
    found.use("images", number - damaged)
    for _ in range(damaged):
        found.leave_out("images", CUT)
    if stops:
        with pytest.raises(DamageError, match=f"a sample: {damaged} of {number} images"):
            found.check_sample(bound, "a sample")
    else:
        found.check_sample(bound)
