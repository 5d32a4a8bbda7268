"""One small Ray cluster for all tests of this folder, a head without work and two nodes; drivers are processes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("driver.py")

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["PYTHONPATH"] = f"{ROOT / 'platform'}{os.pathsep}{ROOT}"
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


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

    def start(images, stores, seconds=0.05, address=ray_address):
        environment = os.environ | {"RAY_ADDRESS": address}
        process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(images), str(stores), str(seconds)],
            env=environment,
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
