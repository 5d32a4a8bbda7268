"""`python -m jobs.train` on two nodes: the same losses on any number of workers, whoever is killed on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segray.testing import write_training
from segray.training.runs.metrics import read_metrics

ROOT = Path(__file__).parents[2]
STEPS = 40
GENTLE = [
    "method.schedule.learning_rate=0.0001",
    # Nearly equal points are told apart by rounding: see tests/unit/methods/test_workers.py.
    "student.importance_sample_ratio=0.0",
    "workers.cpus=1",
]
PATIENCE_S = 600


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return write_training(tmp_path_factory.mktemp("world"), "supervised", steps=STEPS)


@pytest.fixture(scope="module")
def start(world, ray_address) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start(runs, workers, *overrides)`: the command, in a process group of its own."""
    started = []

    def command(runs: Path, workers: int, *overrides: str) -> subprocess.Popen[str]:
        # A relative path: Ray Train's workers start elsewhere than the command.
        arguments = [f"runs={os.path.relpath(runs, ROOT)}", f"workers.num_workers={workers}", *GENTLE, *overrides]
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.train", str(world), *arguments],
            cwd=ROOT,
            env=os.environ | {"RAY_ADDRESS": ray_address},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        if process.poll() is None:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(process: subprocess.Popen[str]) -> str:
    """What it said, once it has ended well."""
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return said


def folder(runs: Path) -> Path:
    return next(runs.glob("supervised-student-*"))


def losses(runs: Path) -> dict[int, float]:
    """By step; all steps are there."""
    found = {one["step"]: one["loss"] for one in read_metrics(str(folder(runs))) if one["kind"] == "train"}
    assert list(found) == list(range(1, STEPS + 1))
    return found


def wait_for(runs: Path, process: subprocess.Popen[str], lines: int = 8) -> None:
    """Until the run has told of that many steps."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        files = list(runs.glob("supervised-student-*/metrics.jsonl"))
        if files and len(files[0].read_text().splitlines()) >= lines:
            return
        time.sleep(0.02)
    pytest.fail(f"no {lines} lines of metrics: {process.stdout.read() if process.poll() is not None else 'too slow'}")


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory) -> dict[int, Path]:
    """Runs that nobody disturbed, by number of workers; 0 is without Ray."""
    runs = {workers: tmp_path_factory.mktemp(f"whole{workers}") for workers in (0, 2)}
    for workers, one in runs.items():
        finish(start(one, workers))
    return runs


@pytest.fixture(scope="module")
def killed(start, cluster, tmp_path_factory) -> Path:
    """What a run of two workers leaves whose command was killed."""
    runs = tmp_path_factory.mktemp("killed")
    process = start(runs, 2)
    wait_for(runs, process)
    kill(process)
    # Ray ends the workers of a dead command only a while later; until then they write.
    until = time.monotonic() + PATIENCE_S
    while training_workers(cluster):
        assert time.monotonic() < until, "the workers of a killed command still run"
        time.sleep(0.1)
    assert not (folder(runs) / "finished.json").exists()
    return runs


def close_to(runs: Path) -> dict[int, object]:
    return {step: pytest.approx(value, rel=1e-4) for step, value in losses(runs).items()}


def test_two_workers_lose_what_one_process_loses(whole):
    assert losses(whole[2]) == close_to(whole[0])


def test_a_killed_command_goes_on_to_the_same_losses(start, whole, killed, tmp_path):
    shutil.copytree(killed, tmp_path / "runs")
    finish(start(tmp_path / "runs", 2))
    assert losses(tmp_path / "runs") == losses(whole[2])
    said = finish(start(tmp_path / "runs", 2))
    assert "finished" in said


def test_a_killed_command_goes_on_with_fewer_workers(start, whole, killed, tmp_path):
    shutil.copytree(killed, tmp_path / "runs")
    finish(start(tmp_path / "runs", 1))
    assert losses(tmp_path / "runs") == close_to(whole[0])


def test_a_killed_worker_is_replaced(start, whole, cluster, tmp_path):
    process = start(tmp_path, 2, "workers.max_failures=1")
    wait_for(tmp_path, process)
    os.kill(training_workers(cluster)[0], signal.SIGKILL)
    finish(process)
    assert losses(tmp_path) == losses(whole[2])
    assert json.loads((folder(tmp_path) / "finished.json").read_text())["step"] == STEPS


def test_a_killed_worker_ends_a_run_that_may_not_fail_in_words(start, cluster, tmp_path):
    process = start(tmp_path, 2)
    wait_for(tmp_path, process)
    os.kill(training_workers(cluster)[0], signal.SIGKILL)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "segray: a training worker failed" in said


def test_workers_that_this_machine_has_no_room_for_are_refused(world, tmp_path):
    alone = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [
        sys.executable,
        "-m",
        "jobs.train",
        str(world),
        f"runs={tmp_path}",
        "workers.num_workers=1",
        "workers.cpus=99",
    ]
    done = subprocess.run(command, check=False, cwd=ROOT, env=alone, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1, done.stdout
    assert "1 workers need 99 CPUs, there are " in done.stderr


def training_workers(cluster) -> list[int]:
    """Process ids of Ray Train's workers, as far as this cluster's nodes began them."""
    raylets = {one.process.pid for node in cluster.worker_nodes for one in node.all_processes["raylet"]}
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            title = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if parent in raylets and b"TrainWorker" in title:
            found.append(int(status.parent.name))
    return found
