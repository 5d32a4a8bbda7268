"""Who works on a folder (a store, a run): one job at a time holds its lease, a small file renewed every few seconds.

A second job is told who holds it. A lease is taken over at once where its process was on this machine and is gone, and
otherwise when it was not renewed for `PATIENCE_S`, by this process's own clock: clocks of two machines are never
compared. On a disk a file lock keeps two takers apart. An object store has no such thing: whoever writes the lease
waits and reads it again, and of two who wrote at the same time the later one keeps it. Should two jobs run at once all
the same (a holder that slept through its own end), they waste work and harm nothing: parts are named by their keys.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pyarrow import fs

from segray.errors import SourceError, StoreError
from segray.storage import commits, files

NAME, _LOCK = "lease.json", ".lease.lock"
FILES = (NAME, _LOCK)
"""What a lease leaves in the folder."""
BEAT_S = 5.0
"""Seconds between renewals."""
PATIENCE_S = 30.0
"""Seconds without a renewal after which a holder elsewhere counts as gone."""
_SETTLE_S = 1.0
"""Seconds after which, on an object store, a lease written at the same time would show."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the lease file says."""

    token: str
    holder: str
    host: str
    machine: str
    """Host, boot and process namespace: where process numbers mean the same."""
    pid: int
    process: str
    """When the process started, in the machine's terms: a number may come again."""
    since: str
    beat: int = 0

    @classmethod
    def mine(cls, holder: str) -> Self:
        """A claim of this process, from now."""
        return cls(
            token=uuid.uuid4().hex,
            holder=holder,
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            process=_started(os.getpid()) or "",
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def __str__(self) -> str:
        return f"{self.holder!r} (process {self.pid} on {self.host}, since {self.since})"


class Lease:
    """Hold a folder: `with store.lease("label job"): ...`."""

    def __init__(
        self,
        store_uri: str,
        holder: str,
        *,
        beat_s: float = BEAT_S,
        patience_s: float = PATIENCE_S,
        settle_s: float = _SETTLE_S,
    ) -> None:
        """All parties to one folder use the same times; other ones are for tests."""
        self._store_uri = store_uri
        self._uri = files.join(store_uri, NAME)
        self._holder = holder
        self._beat_s, self._patience_s, self._settle_s = beat_s, patience_s, settle_s
        self._stop = threading.Event()
        self._lost = threading.Event()

    def __enter__(self) -> Self:
        """Take the lease; may take `PATIENCE_S` where the last holder, elsewhere, is gone.

        Raises:
            StoreError: another job holds it.
        """
        self._claim = Claim.mine(self._holder)
        self._take()
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, name="segray-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with _alone(self._store_uri):
            if self._is_mine():
                commits.delete(self._uri)

    def check(self) -> None:
        """Call now and then in long work.

        Raises:
            StoreError: another job took the lease over.
        """
        if self._lost.is_set():
            raise StoreError(f"{self._store_uri}: the lease was lost, another job works here; what was committed stays")

    def _take(self) -> None:
        seen, start = None, time.monotonic()
        while True:
            with _alone(self._store_uri) as locked:
                found = _read(self._uri)
                waited = found == seen and time.monotonic() - start >= self._patience_s
                if found is None or waited or _is_dead(found):
                    if found is not None:
                        _log.warning(
                            "%s: taking over from %s, which is gone", self._store_uri, _parse(found) or "somebody"
                        )
                    commits.commit(self._uri, _bytes(self._claim))
                    break
            self._refuse_if_alive(found, seen)
            seen = found
            time.sleep(min(self._beat_s, self._patience_s) / 2)
        if not locked:
            time.sleep(self._settle_s)
            if not self._is_mine():
                raise StoreError(f"{self._store_uri}: another job took it at the same time; try again when it is done")

    def _refuse_if_alive(self, found: bytes, seen: bytes | None) -> None:
        claim = _parse(found)
        here = claim is not None and claim.machine == _machine()
        if here or seen not in (None, found):
            raise StoreError(
                f"{self._store_uri}: held by {claim or 'an unknown job'}; wait until it is done, or end it. "
                f"Where it died, run this again: its hold ends by itself"
            )

    def _renew(self) -> None:
        while not self._stop.wait(self._beat_s):
            try:
                with _alone(self._store_uri):
                    if not self._is_mine():
                        self._lost.set()
                        _log.error("%s: the lease of %s was taken over", self._store_uri, self._claim)
                        return
                    self._claim = replace(self._claim, beat=self._claim.beat + 1)
                    commits.commit(self._uri, _bytes(self._claim))
            except (OSError, StoreError) as error:
                # A full disk or a lost connection may pass; if it does not, others take over after their patience.
                _log.warning("%s: the lease could not be renewed: %s", self._store_uri, error)

    def _is_mine(self) -> bool:
        found = _read(self._uri)
        claim = _parse(found) if found is not None else None
        return claim is not None and claim.token == self._claim.token


def _read(uri: str) -> bytes | None:
    try:
        return files.read_if_there(uri)
    except SourceError as error:
        raise StoreError(str(error)) from error


def _bytes(claim: Claim) -> bytes:
    return json.dumps(asdict(claim)).encode()


def _parse(data: bytes) -> Claim | None:
    """None for what no segray wrote: it is waited out like a holder elsewhere."""
    try:
        return Claim(**json.loads(data))
    except (ValueError, TypeError):
        return None


@contextmanager
def _alone(store_uri: str) -> Iterator[bool]:
    """Keep other processes off the lease file for a moment; False where the file system cannot do that."""
    system, path = files.filesystem(store_uri)
    if not isinstance(system, fs.LocalFileSystem):
        yield False
        return
    with commits.as_store_errors(store_uri):
        handle = os.open(Path(path) / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _is_dead(found: bytes) -> bool:
    """Whether the holder was a process of this machine and is one no more."""
    claim = _parse(found)
    if claim is None or claim.machine != _machine():
        return False
    return not _exists(claim.pid) or _started(claim.pid) not in ("", claim.process)


def _machine() -> str:
    """What tells apart places where one process number means different processes (containers share host names)."""
    parts = [socket.gethostname()]
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and namespace.is_symlink():
        parts += [boot.read_text().strip(), str(namespace.readlink())]
    return " ".join(parts)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str | None:
    """When an existing process started; None if it is dead and not yet reaped, "" where the system does not tell."""
    try:
        # The name, in brackets, may hold anything; what follows it does not.
        state, *rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return None if state in "ZX" else rest[18]
