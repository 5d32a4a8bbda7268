"""What is said before an endpoint is started that cannot be. The endpoint itself: tests/ray/test_serving.py."""

import shutil
import socket

import pytest

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.config.serve import ServeConfig
from segray.errors import BackendError, ClusterError, ConfigError, TrainError
from segray.jobs.serve import require_room, serving


def configured(**changes):
    tables = {
        "job": "serve",
        "keys": {"kind": "off"},
        "student": {"uri": str(MASK2FORMER_NANO), "replicas": {"min": 2, "max": 4}},
    }
    return build(ServeConfig, tables | changes, "test")


def test_a_port_that_is_taken_is_named_before_anything_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ClusterError, match=rf"cannot listen on 127.0.0.1:{port} .Address already in use."),
            serving(configured(port=port)),
        ):
            pytest.fail("it serves")


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"student": {"uri": "/no/such/student"}}, BackendError, "is no student"),
        ({"student": {"uri": "/no/such/promoted/street.json"}}, TrainError, "nothing was promoted as 'street'"),
        ({"keys": {"kind": "file", "path": "/no/such/keys"}}, ConfigError, "/no/such/keys"),
    ],
)
def test_what_is_not_there_is_named_before_anything_starts(changes, error, says):
    with pytest.raises(error, match=says), serving(configured(port=0, **changes)):
        pytest.fail("it serves")


def test_a_student_that_cannot_be_loaded_says_why_before_anything_starts(tmp_path):
    shutil.copytree(MASK2FORMER_NANO, tmp_path / "student")
    weights = tmp_path / "student" / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    changes = {"student": {"uri": str(tmp_path / "student")}}
    with pytest.raises(BackendError, match=r"student\.safetensors is damaged"), serving(configured(port=0, **changes)):
        pytest.fail("it serves")


def test_a_machine_with_room_for_the_least_copies_is_enough():
    require_room(configured(), {"CPU": 3})


@pytest.mark.parametrize(
    ("changes", "there", "says"),
    [
        ({}, {"CPU": 2}, r"need 3 CPUs \(student 2, ingress 1\), this machine has 2"),
        ({"ingress": {"gpus": 1}}, {"CPU": 9}, r"need 1 GPUs \(ingress 1\), this machine has 0"),
    ],
)
def test_a_machine_that_is_too_small_is_told(changes, there, says):
    with pytest.raises(ClusterError, match=says):
        require_room(configured(**changes), there)
