"""Tracking: offline files, and no harm to the run when anything is wrong with it."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from segray.config.train import Tracking
from segray.training.runs.tracking import NoTracker, WandbTracker, open_tracker


@pytest.mark.parametrize(("mode", "leads"), [("off", True), ("offline", False)])
def test_nothing_is_tracked(tmp_path: Path, mode: str, leads: bool) -> None:
    tracker = open_tracker(Tracking(wandb=mode), str(tmp_path), "a", Tracking(), leads=leads)
    assert isinstance(tracker, NoTracker)
    assert not list(tmp_path.iterdir())


def test_offline_leaves_files(tmp_path: Path) -> None:
    tracker = open_tracker(Tracking(wandb="offline"), str(tmp_path), "a-1", Tracking(), leads=True)
    assert isinstance(tracker, WandbTracker)
    tracker.log("train", 1, {"loss": 1.0})
    tracker.close()
    assert [path.stat().st_size > 0 for path in tmp_path.glob("wandb/offline-run-*/run-a-1.wandb")] == [True]


def test_offline_asks_nobody(tmp_path: Path) -> None:
    """In a process of its own, with wandb's address at a listener that counts connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1.0)
        code = f"""
from segray.config.train import Tracking
from segray.training.runs.tracking import open_tracker
tracker = open_tracker(Tracking(wandb="offline"), {str(tmp_path)!r}, "a-1", Tracking(), leads=True)
tracker.log("train", 1, {{"loss": 1.0}})
tracker.close()
"""
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        environment = os.environ | {"WANDB_BASE_URL": address, "https_proxy": address, "http_proxy": address}
        environment.pop("WANDB_ERROR_REPORTING", None)
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert list(tmp_path.glob("wandb/offline-run-*"))


def test_a_failure_on_the_way_turns_tracking_off_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = open_tracker(Tracking(wandb="offline"), str(tmp_path), "a-2", Tracking(), leads=True)
    with caplog.at_level(logging.WARNING):
        tracker.log("train", "no step", {"loss": 1.0})  # type: ignore[arg-type]
        tracker.log("train", 2, {"loss": 1.0})
        tracker.close()
    assert caplog.text.count("tracking is off") == 1


def test_a_failing_start_turns_tracking_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    with caplog.at_level(logging.WARNING):
        tracker = open_tracker(Tracking(wandb="offline"), str(taken / "run"), "a", Tracking(), leads=True)
    assert isinstance(tracker, NoTracker)
    assert "tracking is off" in caplog.text
