"""What else goes wrong around a job: an image that crashes its reader, a store that is down, a full disk, a lost node.

Every job ends complete, by itself or by the same command again, with every image once and every step's loss as if
nothing had been. Killed drivers and workers are in test_runner.py and test_train_job.py.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from segray.storage import files
from segray.store import Store
from segray.store.rows import labeled_rows
from segray.testing import write_images, write_training
from segray.training.runs.metrics import read_metrics

ROOT = Path(__file__).parents[2]
IMAGES, STEPS, INTERVAL = 24, 15, 3
OUTAGE_S = 5.0
PATIENCE_S = 600
GENTLE = ["method.schedule.learning_rate=0.0001", "student.importance_sample_ratio=0.0", "workers.cpus=1"]


class Moody:
    """An S3 server that answers 503 for `OUTAGE_S` from the first write on whose path contains `omen`."""

    def __init__(self):
        self.app = DomainDispatcherApplication(create_backend_app)
        self.omen, self.until, self.refused = None, 0.0, 0
        self.server = make_server("127.0.0.1", 0, self, threaded=True)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __call__(self, environment, start):
        if self.omen and environment["REQUEST_METHOD"] == "PUT" and self.omen in environment["PATH_INFO"]:
            self.omen, self.until = None, time.monotonic() + OUTAGE_S
        if time.monotonic() >= self.until:
            return self.app(environment, start)
        self.refused += 1
        environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        start("503 Slow Down", [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]


@pytest.fixture(scope="module")
def s3():
    server = Moody()
    yield server
    server.server.shutdown()


@pytest.fixture
def bucket(s3):
    """`bucket(path)`: a URI in a fresh bucket, which says itself where its server is."""
    name = f"b-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=s3.address).create_bucket(Bucket=name)
    return lambda path: f"s3://{name}/{path}?endpoint_override={s3.address}"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 200 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk of its own needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk):
    """Every byte of it."""
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return disk / "filler"


def content(store_uri):
    """What a store says of each image, and a failure where it says it twice."""
    found = {}
    for batch in Store.open(store_uri).rows():
        for row in labeled_rows(batch):
            assert row.image.image_id not in found
            masks = list(row.instances.counts) if row.instances is not None else None
            found[row.image.image_id] = (row.sha256, row.error, masks)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    images = tmp_path_factory.mktemp("images")
    write_images(images, IMAGES)
    return images


@pytest.fixture(scope="module")
def labels(folder, tmp_path_factory, start_driver):
    driver = start_driver(folder, tmp_path_factory.mktemp("stores"))
    begun = driver.next()
    assert driver.rest()[-1] == {"done": True}
    return content(begun["store"])


def test_an_image_that_ends_its_process_each_time_is_refused_and_no_other(folder, tmp_path, start_driver, labels):
    driver = start_driver(folder, tmp_path, fault="deadly:00007.png")
    begun = driver.next()
    assert driver.rest()[-1] == {"done": True}
    found = content(begun["store"])
    assert found.pop("00007.png")[1] == "ends-process"
    assert found == {image: said for image, said in labels.items() if image != "00007.png"}


@pytest.mark.parametrize("fault", ["device", "flaky-start"])
def test_a_worker_that_cannot_work_costs_no_image(fault, folder, tmp_path, start_driver, labels):
    driver = start_driver(folder, tmp_path, fault=fault)
    begun = driver.next()
    assert driver.rest()[-1] == {"done": True}
    assert content(begun["store"]) == labels
    assert not files.exists(files.join(begun["store"], "attempts"))


def test_a_job_whose_workers_cannot_start_says_why(folder, tmp_path, start_driver):
    driver = start_driver(folder, tmp_path, fault="no-start")
    driver.next()
    (error,) = (event["error"] for event in driver.rest() if "error" in event)
    assert "no weights at s3://weights/sam.pt" in error
    assert "\n" not in error


def test_labeling_waits_for_a_store_that_is_down_for_a_while(s3, bucket, folder, start_driver, labels, record_property):
    for path in folder.iterdir():
        files.write_bytes_atomic(bucket(f"images/{path.name}"), path.read_bytes())
    s3.omen, s3.refused = ".parquet", 0
    driver = start_driver(bucket("images"), bucket("stores"))
    begun = driver.next()
    assert driver.rest()[-1] == {"done": True}
    assert s3.refused > 0
    record_property("requests answered 503", s3.refused)
    assert content(begun["store"]) == labels


def test_labeling_onto_a_full_disk_stops_and_goes_on_with_space(
    small_disk, folder, start_driver, labels, record_property
):
    driver = start_driver(folder, small_disk, 0.1)
    begun = driver.next()
    driver.next()
    filler = fill(small_disk)
    (error,) = (event["error"] for event in driver.rest() if "error" in event)
    assert "free space" in error
    assert "\n" not in error
    filler.unlink()
    driver = start_driver(folder, small_disk)
    again = driver.next()
    assert driver.rest()[-1] == {"done": True}
    assert 0 < again["known"] < IMAGES
    record_property("images kept", again["known"])
    assert content(begun["store"]) == labels


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_training(tmp_path_factory.mktemp("world"), "supervised", steps=STEPS)


@pytest.fixture(scope="module")
def train(world):
    """`train(runs, workers, *overrides, **environment)`: the command, in a process group of its own."""
    started = []

    def command(runs, workers, *overrides, **environment):
        overrides = (f"intervals.checkpoint_every={INTERVAL}", f"workers.num_workers={workers}", *GENTLE, *overrides)
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.train", str(world), f"runs={runs}", *overrides],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def finish(process):
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return said


def lines(runs):
    """A run's lines of training."""
    (name,) = [name for name in files.list_folders(str(runs)) if name.startswith("supervised-student-")]
    return [line for line in read_metrics(files.join(str(runs), name)) if line["kind"] == "train"]


def losses(runs):
    found = {line["step"]: line["loss"] for line in lines(runs)}
    assert list(found) == list(range(1, STEPS + 1))
    return found


def wait_for(runs, process, steps):
    """Until the run has told of so many."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(ValueError):
            if len(lines(runs)) >= steps:
                return
        time.sleep(0.02)
    pytest.fail(process.stdout.read() if process.poll() is not None else "too slow")


@pytest.fixture(scope="module")
def undisturbed(train, tmp_path_factory):
    runs = tmp_path_factory.mktemp("undisturbed")
    finish(train(runs, 0))
    return losses(runs)


def test_training_waits_for_a_store_that_is_down_for_a_while(s3, bucket, train, undisturbed, record_property):
    s3.omen, s3.refused = "optimizer.pt", 0
    finish(train(bucket("runs"), 0))
    assert s3.refused > 0
    record_property("requests answered 503", s3.refused)
    assert losses(bucket("runs")) == undisturbed


def test_training_onto_a_full_disk_stops_in_words_and_goes_on_with_space(
    small_disk, train, undisturbed, record_property
):
    process = train(small_disk, 0)
    wait_for(small_disk, process, INTERVAL + 1)
    filler = fill(small_disk)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "free space" in said
    assert "Traceback" not in said
    filler.unlink()
    stopped, done = time.time(), len(lines(small_disk))
    finish(train(small_disk, 0))
    assert losses(small_disk) == undisturbed
    record_property("steps done again", redone(small_disk, stopped, done))
    assert redone(small_disk, stopped, done) <= INTERVAL


def redone(runs, since, done):
    """How many of the first `done` steps were taken after `since`, a time."""
    return sum(line["time"] > since for line in lines(runs)[:done])


def test_a_lost_node_costs_training_at_most_the_steps_since_a_checkpoint(
    cluster, train, undisturbed, tmp_path, record_property
):
    # Wide enough for a training worker, as no other node is: one on each, and the third for the lost one.
    nodes = [cluster.add_node(num_cpus=3, object_store_memory=100 * 2**20) for _ in range(3)]
    one_thread = ["workers.cpus=3", "workers.threads=1", "workers.max_failures=2"]
    process = train(tmp_path, 2, *one_thread, RAY_ADDRESS=cluster.address)
    wait_for(tmp_path, process, 2 * INTERVAL + 1)
    doomed = next(node for node in nodes if trains(node))
    cluster.remove_node(doomed, allow_graceful=False)
    lost, done = time.time(), len(lines(tmp_path))
    assert done < STEPS
    finish(process)
    assert losses(tmp_path) == {step: pytest.approx(loss, rel=1e-4) for step, loss in undisturbed.items()}
    record_property("steps done again", redone(tmp_path, lost, done))
    assert redone(tmp_path, lost, done) <= INTERVAL
    for node in nodes:
        if node is not doomed:
            cluster.remove_node(node)


def trains(node):
    """Whether a training worker runs on it."""
    raylets = {one.process.pid for one in node.all_processes["raylet"]}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent in raylets and b"TrainWorker" in status.with_name("cmdline").read_bytes():
                return True
    return False
