"""What keeps an endpoint apart from others on its machine, without Ray. With it: tests/ray/test_isolation.py."""

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segray.errors import ClusterError
from segray.jobs.endpoint import isolation

HOLD = """
import sys
from pathlib import Path
from segray.jobs.endpoint import isolation

isolation.ROOT = Path(sys.argv[1])
with isolation.isolated():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def holder(root):
    """Another process in `isolated()`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as one:
        assert one.stdout.readline() == b"held\n"
        yield one
        one.kill()


def settings():
    names = (*isolation.PROXY_PORTS, *isolation.REPLICA_PORTS, *isolation.PROXY_FILES, "RAY_SERVE_HAPROXY_BINARY_PATH")
    return {name: os.environ.get(name) for name in names}


def test_endpoints_share_no_port_and_no_file(root):
    before = settings()
    with isolation.isolated():
        first = settings()
        with isolation.isolated():
            second = settings()
        assert settings() == first
    assert settings() == before
    assert len({*first.values(), *second.values()}) == 2 * len(first)
    assert list(root.iterdir()) == []


def test_only_this_user_may_enter_the_folder_and_the_proxy_in_it_runs(root):
    with isolation.isolated():
        (folder,) = root.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {str(Path(os.environ[name])) for name in isolation.PROXY_FILES} == {
            str(folder / file) for file in isolation.PROXY_FILES.values()
        }
        haproxy = [os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"], "-v"]
        assert subprocess.run(haproxy, capture_output=True, check=True).stdout.startswith(b"HAProxy")


def test_the_folder_of_a_killed_process_is_removed_by_the_next(root, holder):
    (kept,) = root.iterdir()
    with isolation.isolated():
        assert kept in root.iterdir()
    holder.kill()
    holder.wait()
    assert list(root.iterdir()) == [kept]
    with isolation.isolated():
        assert kept not in root.iterdir()


def test_a_port_is_waited_for_only_where_an_endpoint_was_killed(root, holder, monkeypatch):
    monkeypatch.setattr(isolation, "ENDING_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert refused_after(port) < 0.4
        holder.kill()
        holder.wait()
        assert refused_after(port) >= 0.5
        assert list(root.iterdir()) == []
        assert refused_after(port) < 0.4


def refused_after(port):
    """Return the seconds until a port that is taken is refused."""
    start = time.monotonic()
    with pytest.raises(ClusterError, match="Address already in use"):
        isolation.endpoint_port("127.0.0.1", port)
    return time.monotonic() - start
