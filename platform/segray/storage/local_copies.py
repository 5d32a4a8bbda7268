"""Copies of remote files on this machine's disk, made once for all of its processes, and hashes of large files.

A copy is made under a lock, so that processes that start at once fetch a file once. It is complete when its note lies
beside it: a fetch that is killed leaves no note, and is done again. The note holds the SHA-256 of the bytes, which are
read again where the file no longer has the size and the time of modification that the note says.

Copies that were not asked for within the last hour are deleted, the oldest first, while all of them together exceed
`MAX_GIB`, or SEGRAY_COPIES_GIB of the environment. Copies in use for longer stay readable, since whoever opened or
mapped them keeps them. The folder is the user's own, below TMPDIR.

Knows files and nothing of what is in them.
"""

import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from segray.errors import SourceError
from segray.storage import files

MAX_GIB: Final = 32.0
"""Bound of all copies together, unless SEGRAY_COPIES_GIB names another."""
KEPT_S: Final = 3600.0
"""Time since a copy was last asked for during which it is not deleted."""
MAX_HASHES: Final = 1000
"""Number of remembered hashes."""
_TRIES: Final = 3
"""Fetches of a file that changes while it is fetched."""


@dataclass(frozen=True, kw_only=True)
class _Note:
    """What is known of a complete copy."""

    uri: str
    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, uri: str, copy: Path) -> "_Note":
        found = copy.stat()
        return cls(uri=uri, size=found.st_size, mtime_ns=found.st_mtime_ns, sha256=_sha256(copy))

    def fits(self, copy: Path) -> bool:
        try:
            found = copy.stat()
        except FileNotFoundError:
            return False
        if found.st_size != self.size:
            return False
        return found.st_mtime_ns == self.mtime_ns or _sha256(copy) == self.sha256


def local_copy(uri: str, *, sha256: str | None = None) -> Path:
    """Return the file as one that this machine can map: itself where it is local, else a copy of its present version.

    Args:
        uri: where the file is.
        sha256: of the bytes, where the caller knows it: a copy of other bytes is fetched again, once.

    Raises:
        SourceError: the file cannot be read, or no copy can be written.
    """
    if files.scheme(uri) in ("", "file"):
        path = Path(files.filesystem(uri)[1])
        with files.readable(uri):
            path.stat()
        return path
    for _ in range(_TRIES):
        version = files.version(uri)
        if version is None:
            raise SourceError(f"{uri}: there is no such file or folder")
        name = hashlib.sha256(f"{uri} {version}".encode()).hexdigest()[:24]
        folder = _folder("copies")
        copy, note = folder / name, folder / f"{name}.json"
        with files.readable(str(folder)), _locked(name):
            known = _read(note)
            if known is not None and known.fits(copy) and sha256 in (None, known.sha256):
                os.utime(note)
                return copy
            note.unlink(missing_ok=True)
            partial = folder / f".{name}.tmp"
            files.fetch(uri, partial)
            if files.version(uri) != version:
                partial.unlink()
                continue
            partial.replace(copy)
            files.write_bytes_atomic(str(note), json.dumps(asdict(_Note.of(uri, copy))).encode())
        _delete_oldest(folder, keep=note)
        return copy
    raise SourceError(f"{uri}: changed {_TRIES} times while it was read")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a local file's bytes, read once for each version of the file on this machine."""
    note = path.with_name(f"{path.name}.json")
    known = _read(note) if path.parent.name == "copies" else None
    return known.sha256 if known is not None and known.fits(path) else remembered("sha256", [path], _sha256_of_one)


def remembered(what: str, paths: Sequence[Path], compute: Callable[[Sequence[Path]], str]) -> str:
    """Return what was computed from these files as they are now: by this call, or by an earlier one on this machine.

    Args:
        what: names the computation, and its version.
        paths: local files. They count as unchanged while their sizes and times of modification are.
        compute: returns a short text, such as a hash.
    """
    try:
        folder = _folder("hashes")
        stats = [(str(path.resolve()), path.stat()) for path in paths]
    except (SourceError, OSError):
        return compute(paths)
    key = json.dumps([what, [[path, one.st_size, one.st_mtime_ns, one.st_ino] for path, one in stats]])
    note = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
    with suppress(OSError):
        found = note.read_text()
        os.utime(note)
        return found
    computed = compute(paths)
    with suppress(OSError):
        files.write_bytes_atomic(str(note), computed.encode())
        by_age = sorted(folder.iterdir(), key=lambda one: one.stat().st_mtime)
        for old in by_age[:-MAX_HASHES]:
            old.unlink(missing_ok=True)
    return computed


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_one(paths: Sequence[Path]) -> str:
    (path,) = paths
    return _sha256(path)


def _read(note: Path) -> _Note | None:
    try:
        return _Note(**json.loads(note.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Hold the lock of a copy. There are 256 lock files, which stay; the system frees those of killed processes."""
    with (_folder("locks") / name[:2]).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _delete_oldest(folder: Path, keep: Path) -> None:
    """Delete copies until all fit, and what killed fetches left a day ago."""
    most = float(os.environ.get("SEGRAY_COPIES_GIB", MAX_GIB)) * 2**30
    now, notes = time.time(), []
    for path in folder.iterdir():
        with suppress(OSError):
            found = path.stat()
            if path.suffix == ".json":
                notes.append((found.st_mtime, path, path.with_suffix("").stat().st_size))
            elif path.suffix == ".tmp" and now - found.st_mtime > 24 * 3600:
                path.unlink()
    total = sum(size for _, _, size in notes)
    for used, note, size in sorted(notes):
        if total <= most or now - used < KEPT_S:
            return
        if note != keep:
            # The note first: without it the copy is none.
            note.unlink(missing_ok=True)
            note.with_suffix("").unlink(missing_ok=True)
            total -= size


def _folder(name: str) -> Path:
    """Return a folder in the user's own one, made for this user alone.

    Raises:
        SourceError: it is somebody else's, or cannot be made.
    """
    own = Path(tempfile.gettempdir()) / f"segray-{os.getuid()}"
    with files.readable(str(own)):
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise SourceError(
                f"{own}: belongs to somebody else, or others may write to it: remove it, or set TMPDIR to a folder of"
                " your own"
            )
        folder = own / name
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder
