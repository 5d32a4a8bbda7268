"""Metrics of a run: appended, cut where a run resumes, read whatever became of the last line."""

import math
from pathlib import Path

import pytest

from segray.storage import files
from segray.training.runs.metrics import METRICS, MetricsLog, read_metrics, series


@pytest.fixture(params=["disk", "object store"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "runs/a") if request.param == "disk" else f"memory://{tmp_path}/runs/a"


def steps(run: str) -> list[tuple[str, int]]:
    return [(one["kind"], one["step"]) for one in read_metrics(run)]


def test_lines_come_back(run: str) -> None:
    log = MetricsLog(run, resume_step=0)
    log.write("train", 20, {"loss": 2.5, "rate": math.nan})
    log.write("evaluate", 20, {"ap": 0.25})
    log.flush()
    first, second = read_metrics(run)
    assert (first["loss"], first["rate"], second["ap"]) == (2.5, None, 0.25)
    assert second["time"] >= first["time"] > 0
    assert steps(run) == [("train", 20), ("evaluate", 20)]


@pytest.mark.parametrize(("resume_step", "kept"), [(0, []), (19, []), (40, [20, 40]), (100, [20, 40, 60])])
def test_a_resumed_run_drops_what_it_does_again(run: str, resume_step: int, kept: list[int]) -> None:
    log = MetricsLog(run, resume_step=0)
    for step in (20, 40, 60):
        log.write("train", step, {"loss": step})
    log.flush()
    again = MetricsLog(run, resume_step=resume_step)
    again.write("train", 110, {"loss": 0.0})
    again.flush()
    assert [step for _, step in steps(run)] == [*kept, 110]


def test_a_torn_last_line_is_passed_over_and_goes(run: str) -> None:
    whole = b'{"kind": "train", "step": 20, "time": 1.0, "loss": 3.0}\n'
    files.write_bytes_atomic(files.join(run, METRICS), whole + b'{"kind": "train", "st')
    assert steps(run) == [("train", 20)]
    log = MetricsLog(run, resume_step=20)
    log.write("train", 40, {"loss": 1.0})
    log.flush()
    assert steps(run) == [("train", 20), ("train", 40)]


def test_without_metrics_there_are_none(run: str) -> None:
    assert read_metrics(run) == []


def test_the_later_of_two_counts(run: str) -> None:
    log = MetricsLog(run, resume_step=0)
    for value in (0.1, 0.2):
        log.write("evaluate", 40, {"ap": value})
    log.flush()
    assert [one["ap"] for one in read_metrics(run)] == [0.2]


def test_lines_reach_an_object_store_before_the_end(tmp_path: Path) -> None:
    run = f"memory://{tmp_path}/long"
    log = MetricsLog(run, resume_step=0)
    for step in range(1, 121):
        log.write("train", step, {"loss": 1.0})
    assert len(read_metrics(run)) == 100


def test_series() -> None:
    lines = [
        {"kind": "train", "step": 1, "time": 0.0, "loss": 2.0, "rate": None},
        {"kind": "evaluate", "step": 1, "time": 0.0, "ap": 0.5},
        {"kind": "train", "step": 2, "time": 0.0, "loss": 1.0, "rate": 3},
    ]
    assert series(lines, "train") == {"loss": [(1, 2.0), (2, 1.0)], "rate": [(2, 3.0)]}
