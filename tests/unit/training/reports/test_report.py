"""A run's report: its figures, its pictures, nothing loaded from elsewhere, whatever the run has come to."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from segray.training.reports.report import percent, write_report
from segray.training.runs.catalog import Run

LeaveRun = Callable[..., Run]
CREATED = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


def written(run: Run, out: Path) -> str:
    write_report(run, out, created=CREATED)
    return out.read_text(encoding="utf-8")


def text(page: str) -> str:
    """What is read, without marks and spaces in a row."""
    body = page[page.index("<body>") :]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_figures_are_told(tmp_path: Path, leave_run: LeaveRun) -> None:
    leave_run("base", ap=0.2)
    told = text(written(leave_run("s4m", parents={"teacher": "base"}, config={"seed": 7}), tmp_path / "r.html"))
    assert "AP 25.0 best, at step 300" in told
    assert "Best student, step 300 25.0 50.0 – – – –" in told
    assert "Teacher at the end 11.1" in told
    assert "Precision 50.0 60.0 +10.0" in told
    assert "cell 25.0 dot 12.5" in told
    assert "builds on base AP 20.0" in told
    assert "seed 7" in told
    assert "Labels kept 2" in told


def test_pictures_are_judged(tmp_path: Path, leave_run: LeaveRun) -> None:
    page = written(leave_run("s4m", found=2), tmp_path / "r.html")
    assert text(page).count("2 of 3, 1 wrong") == 2
    # Two columns of two images, as masks and as right and wrong, and the image itself.
    assert page.count("data:image/webp;base64,") == 2 * (2 * 2 + 1)


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path, leave_run: LeaveRun) -> None:
    page = written(leave_run("s4m"), tmp_path / "r.html")
    assert not re.search(r"<script|@import|https?://|url\((?!data:)", page)


def test_an_unfinished_run_shows_how_far_it_is(tmp_path: Path, leave_run: LeaveRun) -> None:
    run = leave_run("s4m", ap=None, content={"schedule": {"steps": 900}})
    page = written(run, tmp_path / "r.html")
    assert "Steps 300 of 900" in text(page)
    assert "not finished" in page
    assert 'id="panels"' not in page


def test_label_maps_are_measured_by_miou_and_their_pixels(tmp_path: Path, leave_run: LeaveRun) -> None:
    run = leave_run("unimatch", miou=0.625, found=48, classes=("background", "cell"))
    page = written(run, tmp_path / "r")
    told = text(page)
    assert "mIoU 62.5 best, at step 300 Right pixels 90.0" in told
    assert "Best student, step 300 62.5 90.0" in told
    assert "background 80.0 cell 62.5" in told
    assert "mIoU 30.0 Right pixels 35.0 Labeled pixels 40.0" in told
    assert told.count("75.0% right") == 2
    assert "Average precision" not in told
    assert "IoU from 0.5 on" not in told


def test_names_from_outside_are_text(tmp_path: Path, leave_run: LeaveRun) -> None:
    run = leave_run("s4m", classes=("<script>x</script>", "dot"), images=('"><img src=x>',), config={"<b>": "</dl>"})
    page = written(run, tmp_path / "r.html")
    assert not re.search(r"<script>|<img src=x>|<b>&|</dl></dd>", page)
    assert "&lt;script&gt;x&lt;/script&gt;" in page


@pytest.mark.parametrize(("used", "told"), [("0f", True), (None, False)])
def test_unlabeled_images_are_told_where_the_run_learned_from_them(
    tmp_path: Path, leave_run: LeaveRun, used: str | None, told: bool
) -> None:
    data = {role: {"source": {"uri": f"data/{role}"}, "images": 12} for role in ("labeled", "unlabeled")}
    page = text(written(leave_run("x", data=data, content={"unlabeled": used}), tmp_path / "r.html"))
    assert "Labeled images 12" in page
    assert ("Unlabeled images 12" in page) == told
    assert ("unlabeled data/unlabeled 12 images" in page) == told


def test_one_class_needs_no_legend(tmp_path: Path, leave_run: LeaveRun) -> None:
    assert "for-masks" in written(leave_run("two"), tmp_path / "r.html").partition("<body>")[2]
    one = leave_run("one", classes=("cell",))
    assert "for-masks" not in written(one, tmp_path / "r.html").partition("<body>")[2]


@pytest.mark.parametrize(("value", "told"), [(0.3124, "31.2"), (0.0, "0.0"), (None, "–"), (float("nan"), "–")])
def test_percent(value: float | None, told: str) -> None:
    assert percent(value) == told
