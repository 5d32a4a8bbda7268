"""Runs side by side: gains with their signs, the same images only, what differs and nothing else."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from segray.training.reports.comparison import compare_report, side_by_side
from segray.training.runs.catalog import Run

LeaveRun = Callable[..., Run]


def written(runs: dict[str, Run], out: Path) -> str:
    compare_report(runs, out)
    page = out.read_text(encoding="utf-8")
    return " ".join(re.sub(r"<[^>]*>", " ", page[page.index("<body>") :]).split())


def test_gains_and_scores(tmp_path: Path, leave_run: LeaveRun) -> None:
    runs = {
        "Supervised": leave_run("supervised", ap=0.20, found=1),
        "S4M": leave_run("s4m", ap=0.25, found=3),
        "Worse": leave_run("worse", ap=0.15, found=0),
    }
    told = written(runs, tmp_path / "c.html")
    assert "S4M 25.0 +5.0 against Supervised" in told
    assert "Worse 15.0 -5.0 against Supervised" in told
    assert "Supervised finds 2 of 6 objects and is wrong 2 times; S4M finds 6 of 6 objects and is wrong 2 times" in told
    assert "cell 20.0 25.0 15.0" in told


def test_label_maps_are_compared_by_miou(tmp_path: Path, leave_run: LeaveRun) -> None:
    classes = ("background", "cell")
    runs = {
        "CAM": leave_run("cam", miou=0.3, found=16, classes=classes),
        "SEPL": leave_run("sepl", miou=0.4, found=48, classes=classes),
    }
    told = written(runs, tmp_path / "c.html")
    assert "mIoU of each run's best student" in told
    assert "SEPL 40.0 +10.0 against CAM" in told
    assert "CAM is right about 25.0% of the pixels; SEPL is right about 75.0% of the pixels" in told
    assert "cell 30.0 40.0" in told
    assert "objects" not in told


def test_only_images_that_all_runs_show(leave_run: LeaveRun) -> None:
    runs = {"x": leave_run("x", images=("a.png", "b.png")), "y": leave_run("y", images=("c.png", "b.png"))}
    (shared,) = side_by_side(runs)
    assert shared.image_id == "b.png"
    assert [title for title, _ in shared.columns] == ["Truth", "x", "y"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"s4m-student-1a": "student", "s4m-teacher-2b": "teacher"}, ["s4m student", "s4m teacher"]),
        ({"s4m-student-1a": "student", "s4m-student-2b": "student"}, ["s4m student 1a", "s4m student 2b"]),
    ],
)
def test_folders_names_are_shortened_as_far_as_they_stay_apart(
    tmp_path: Path, leave_run: LeaveRun, names: dict[str, str], told: list[str]
) -> None:
    runs = {name: leave_run(name, method="s4m", run=run) for name, run in names.items()}
    compare_report(runs, tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    titles = re.findall(r'<bdi class="name">(.*?)</bdi>', page)
    assert titles[:3] == ["Truth", *told]
    # Whole only where the runs' folders are told.
    assert [page.count(name) for name in names] == [1, 1]


def test_only_what_differs_is_told(tmp_path: Path, leave_run: LeaveRun) -> None:
    runs = {
        "x": leave_run("x", content={"seed": 0, "rate": {"peak": 0.1}}),
        "y": leave_run("y", content={"seed": 0, "rate": {"peak": 0.2}, "more": "yes"}),
    }
    told = written(runs, tmp_path / "c.html")
    assert "rate.peak 0.1 0.2" in told
    assert "more – yes" in told
    assert "seed" not in told


def test_unfinished_runs_can_be_compared(tmp_path: Path, leave_run: LeaveRun) -> None:
    told = written({"x": leave_run("x"), "y": leave_run("y", ap=None)}, tmp_path / "c.html")
    assert "not finished" in told
    assert "The same images" not in told


def test_one_run_is_not_a_comparison(tmp_path: Path, leave_run: LeaveRun) -> None:
    with pytest.raises(ValueError, match="at least two"):
        compare_report({"x": leave_run("x")}, tmp_path / "c.html")
