"""One small Ray cluster for all tests of this folder, a head without work and two nodes; drivers are processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("driver.py")

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["PYTHONPATH"] = f"{ROOT / 'platform'}{os.pathsep}{ROOT}"
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Of the S3 server that tests start: whoever works on a node must have them, and nodes start before any test.
S3_KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
os.environ.update(S3_KEYS)


@pytest.fixture(scope="session")
def cluster():
    head = {"num_cpus": 0, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        started.add_node(num_cpus=2, object_store_memory=100 * 2**20)
    yield started
    started.shutdown()


@pytest.fixture(scope="session")
def ray_address(cluster):
    return cluster.address


@pytest.fixture(scope="session")
def python(ray_address):
    """Python in a process of its own, to its end: on the cluster, another address, or (None) where no Ray is named."""

    def run(*arguments, address=ray_address):
        env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"OMP_NUM_THREADS": "1"}
        if address is not None:
            env["RAY_ADDRESS"] = address
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )

    return run


@dataclass
class Driver:
    """A label run over a sleeping stage in a process of its own, and what it has printed."""

    process: subprocess.Popen

    def rest(self):
        return [json.loads(line) for line in self.process.stdout if line.startswith("{")]

    def next(self):
        return next((json.loads(line) for line in self.process.stdout if line.startswith("{")), None)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="session")
def start_driver(ray_address):
    started = []

    def start(images, stores, seconds=0.05, address=ray_address, cpus=0.5, fault="", held=False):
        """Start one; `held`, it labels nothing before its `process.stdin` is closed, and holds the store."""
        environment = os.environ | {"RAY_ADDRESS": address}
        process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(images), str(stores), str(seconds), str(cpus), fault],
            env=environment,
            stdin=subprocess.PIPE if held else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return Driver(process)

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def head():
    """`head(*arguments, **environment)`: `ray start --head` for the time of a `with`, with all that it starts."""

    @contextmanager
    def started(*arguments, **environment):
        # Ray's sockets lie below it, and their paths must be short.
        scratch = tempfile.mkdtemp(prefix="sr-", dir="/tmp")
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--temp-dir={scratch}",
            "--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000", "--disable-usage-stats",
            f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}", *arguments,
        ]  # fmt: skip
        with Path(scratch, "head.log").open("w") as log:
            process = subprocess.Popen(
                command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            # Workers lead groups of their own, in the head's session.
            for pid in of_session(process.pid):
                with suppress(ProcessLookupError):  # It ended by itself.
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(scratch, ignore_errors=True)

    return started


@dataclass
class Served:
    """A `segray serve` in a session of its own: its process, its address, and what it starts."""

    process: subprocess.Popen
    address: str

    def pids(self, *words):
        """Processes whose command line holds all of the words."""
        found = []
        for pid in of_session(self.process.pid):
            with suppress(OSError):  # It ended by itself.
                command = Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if all(word in command for word in words):
                    found.append(pid)
        return found


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """`served(*overrides)`: `segray serve` of the nano student for the time of a `with`, once it answers."""

    @contextmanager
    def started(*overrides):
        log = tmp_path_factory.mktemp("served") / "log"
        command = [sys.executable, "-m", "segray.cli", "serve", "configs/serve/nano.toml", "clicks=none", *overrides]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        with log.open("w") as out:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
            )
        try:
            until = time.monotonic() + 600
            while "endpoint:" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.2)
            yield Served(process, log.read_text().split("endpoint: ")[1].split("/v1/segment")[0])
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(300)

    return started


def of_session(leader):
    """Process ids, raylets and the head before the workers that they would start anew."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(status.parent.name))
    return sorted(found)
