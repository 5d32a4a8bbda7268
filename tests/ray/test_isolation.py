"""Endpoints on one machine, each a `segray serve` with its own Ray: none answers for another or leaves a proxy."""

import os
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from segray.jobs.endpoint.isolation import PREFIX, ROOT
from segray.serving.http import keys


@pytest.fixture(scope="module")
def open_to_all(served):
    """An endpoint without keys, which answers everybody."""
    with served("port=0") as one:
        assert status(one) == 200
        yield one


def status(one, **headers):
    """Return the answer's status, None where there is none."""
    try:
        return httpx.get(f"{one.address}/v1/models", headers=headers, timeout=10).status_code
    except httpx.TransportError:
        return None


@pytest.mark.slow
def test_while_a_replica_is_gone_no_other_endpoint_answers_in_its_place(open_to_all, served, tmp_path):
    key = keys.make("tests")
    (tmp_path / "keys").write_text(key.line + "\n")
    with served("port=0", "keys.kind=file", f"keys.path={tmp_path / 'keys'}") as keyed:
        assert (status(keyed), status(keyed, **{"X-API-Key": key.key})) == (401, 200)
        (replica,) = keyed.pids("ray::ServeReplica")
        os.kill(replica, signal.SIGKILL)
        seen, until = [], time.monotonic() + 400
        while status(keyed, **{"X-API-Key": key.key}) != 200 or replica in keyed.pids("ray::ServeReplica"):
            seen.append(status(keyed))
            assert time.monotonic() < until, seen
        assert status(open_to_all) == 200
    assert seen
    assert 200 not in seen


@pytest.mark.slow
@pytest.mark.usefixtures("open_to_all")
def test_a_killed_command_leaves_no_proxy_and_starts_again_on_its_port(served):
    with served("port=0") as first:
        (proxy,) = first.pids("haproxy", "-db")
        # Other tests may start endpoints meanwhile: the proxy's own command names its folder.
        command = Path("/proc", str(proxy), "cmdline").read_text().split("\0")
        (folder,) = {one for one in ROOT.glob(f"{PREFIX}*") if any(word.startswith(f"{one}/") for word in command)}
        first.process.kill()
        first.process.wait()
    with served(f"port={urlsplit(first.address).port}") as second:
        assert second.address == first.address
        assert status(second) == 200
        assert not Path("/proc", str(proxy)).exists()
        assert first.pids("haproxy", "-db") == []
        assert not folder.exists()
