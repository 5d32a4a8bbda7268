"""Runs told from their folders, on a disk and in an object store; names that are promoted and rolled back."""

import json
from pathlib import Path

import pytest

from segray.errors import TrainError
from segray.models import promotion
from segray.storage import files
from segray.training.runs import catalog


@pytest.fixture(params=["disk", "object store"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "runs") if request.param == "disk" else f"memory://{tmp_path}/runs"


def leave(runs: str, name: str, *, ap: float | None = 0.25, created: str = "2026-03-01", **record: object) -> None:
    """A run's folder; unfinished where there is no AP."""

    def put(path: str, value: object) -> None:
        files.write_bytes_atomic(files.join(runs, name, path), json.dumps(value).encode())

    put("run.json", {"name": name, "created": created} | record)
    put("checkpoints/step-00000005/state.json", {})
    put("last/student.json", {})
    if ap is not None:
        put("best/student.json", {})
        put("finished.json", {"step": 9, "seconds": 1.0, "best": {"step": 5, "ap": ap}, "last": {"ap": ap / 2}})


def test_runs_are_listed_oldest_first(runs: str) -> None:
    assert catalog.list_runs(runs) == []
    leave(runs, "s4m-student-bb", created="2026-03-02")
    leave(runs, "s4m-teacher-cc", created="2026-03-01", ap=None)
    files.write_bytes_atomic(files.join(runs, "rows/x.arrow"), b"")
    first, second = catalog.list_runs(runs)
    assert (first.name, second.name) == ("s4m-teacher-cc", "s4m-student-bb")
    assert first.end is None
    assert first.figures == {}
    assert second.figures == {"best.step": 5, "best.ap": 0.25, "last.ap": 0.125}


@pytest.mark.parametrize(
    ("name", "found"),
    [("s4m-student-bb", "s4m-student-bb"), ("s4m-s", "s4m-student-bb"), ("cc", "s4m-teacher-cc")],
)
def test_a_run_is_found_by_either_end_of_its_name(runs: str, name: str, found: str) -> None:
    leave(runs, "s4m-student-bb")
    leave(runs, "s4m-teacher-cc")
    assert catalog.show_run(runs, name).name == found


@pytest.mark.parametrize(("name", "says"), [("s4m", "2 runs are called so"), ("x", "no such run"), ("", "no such run")])
def test_a_name_that_is_not_one_run_says_so(runs: str, name: str, says: str) -> None:
    leave(runs, "s4m-student-bb")
    leave(runs, "s4m-teacher-cc")
    with pytest.raises(TrainError, match=says):
        catalog.show_run(runs, name)


def test_ancestors(runs: str) -> None:
    leave(runs, "c", parents={"teacher": "b"})
    leave(runs, "b", parents={"base": "a", "lost": "gone"})
    leave(runs, "a")
    assert [run.name for run in catalog.ancestors(runs, catalog.show_run(runs, "c"))] == ["b", "a"]


def test_comparison_names_what_differs(runs: str) -> None:
    leave(runs, "a", ap=0.2, content={"seed": 0, "view": {"size": [1, 2]}, "same": None})
    leave(runs, "b", ap=0.3, content={"seed": 1, "view": {"size": [1, 3]}, "same": None, "more": True})
    found = catalog.compare_runs(runs, "a", "b")
    assert [(one.path, one.first, one.second) for one in found.content] == [
        ("seed", 0, 1),
        ("view.size.1", 2, 3),
        ("more", None, True),
    ]
    assert ("best.ap", 0.2, 0.3) in [(one.path, one.first, one.second) for one in found.figures]


def test_a_name_is_promoted_and_rolled_back(runs: str) -> None:
    for name in ("a", "b", "c"):
        leave(runs, name)
    catalog.promote(runs, "a", "cells")
    promoted = catalog.promote(runs, "b", "cells", "last")
    assert promoted.student == files.join(runs, "b", "last")
    assert promotion.current_promotion(runs, "cells") == promoted
    assert (catalog.rollback(runs, "cells").run, promotion.current_promotion(runs, "cells").which) == ("a", "best")
    catalog.promote(runs, "c", "cells")
    # What was rolled back from is not gone back to.
    assert catalog.rollback(runs, "cells").run == "a"
    with pytest.raises(TrainError, match="nothing to roll back to"):
        catalog.rollback(runs, "cells")
    assert [(one.name, one.run) for one in promotion.promotions(runs)] == [("cells", "a")]


def test_a_teacher_is_promoted_where_it_was_kept(runs: str) -> None:
    for name in ("student", "teacher"):
        leave(runs, name)
        files.write_bytes_atomic(files.join(runs, name, "best/teacher/student.json"), b"{}")
    end = json.loads(files.read_bytes(files.join(runs, "teacher", "finished.json")))
    files.write_bytes_atomic(
        files.join(runs, "teacher/finished.json"), json.dumps(end | {"network": "teacher"}).encode()
    )
    assert catalog.promote(runs, "student", "cells").student == files.join(runs, "student", "best")
    # What the run's best step was chosen by is the default.
    assert catalog.promote(runs, "teacher", "cells").student == files.join(runs, "teacher", "best/teacher")
    assert catalog.promote(runs, "student", "cells", network="teacher").network == "teacher"
    assert catalog.promote(runs, "teacher", "cells", network="student").network == "student"
    assert [catalog.rollback(runs, "cells").network for _ in range(3)] == ["teacher", "teacher", "student"]
    with pytest.raises(TrainError, match="keeps no teacher"):
        catalog.promote(runs, "teacher", "cells", "last", network="teacher")


@pytest.mark.parametrize(
    ("run", "name", "which", "says"),
    [
        ("open", "cells", "last", "not finished"),
        ("done", "../cells", "best", "cannot be a name"),
        ("nowhere", "cells", "best", "no such run"),
        ("blind", "cells", "best", "has no student 'best'"),
    ],
)
def test_what_cannot_be_promoted(runs: str, run: str, name: str, which: promotion.Which, says: str) -> None:
    leave(runs, "open", ap=None)
    leave(runs, "done")
    leave(runs, "blind", ap=None)
    files.write_bytes_atomic(files.join(runs, "blind/finished.json"), b'{"step": 3, "best": null, "last": {}}')
    with pytest.raises(TrainError, match=says):
        catalog.promote(runs, run, name, which)
    assert promotion.promotions(runs) == []


def test_an_unfinished_run_can_be_forced(runs: str) -> None:
    leave(runs, "open", ap=None)
    assert catalog.promote(runs, "open", "cells", "last", force=True).run == "open"


def test_rolling_back_to_a_removed_run_is_refused(runs: str) -> None:
    leave(runs, "a")
    leave(runs, "b")
    catalog.promote(runs, "a", "cells")
    catalog.promote(runs, "b", "cells")
    catalog.RunFolder(runs=runs, name="a").remove()
    with pytest.raises(TrainError, match="has no student"):
        catalog.rollback(runs, "cells")
    assert promotion.current_promotion(runs, "cells").run == "b"


def test_an_unknown_name_says_which_there_are(runs: str) -> None:
    leave(runs, "a")
    catalog.promote(runs, "a", "cells")
    with pytest.raises(TrainError, match="names are cells"):
        promotion.current_promotion(runs, "dots")
