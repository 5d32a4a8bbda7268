"""Files by URI: one way to open, list, test and write them, on a disk or in an object store.

Knows local paths, what pyarrow.fs speaks (s3, gs, abfs, hdfs) and, wrapped, what fsspec speaks (https, memory, sftp,
...). Knows nothing of images or stores. Keys are taken as they are written, never percent-decoded (file:// is the
exception: `join` encodes what it adds), so that what a listing gives can be opened again.

S3 uses the AWS_* environment; another server is AWS_ENDPOINT_URL, or `?endpoint_override=http://host:port` at the
URI's end.
"""

import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import fsspec
import pyarrow as pa
from pyarrow import fs

from segray.errors import SourceError
from segray.storage import listing, ranges, s3
from segray.storage.retry import retrying

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_OPTIONS = re.compile(
    r"\?((?:endpoint_override|region|scheme|anonymous|user|replication|retry_limit_seconds|default_bucket_location)=.*)$"
)
_ARROW = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"})
_ONE_PUT = frozenset({"s3", "gs", "gcs", "abfs", "abfss"})
MISSING = "missing"
"""The version of a file that is named somewhere and is not there."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file that a listing met."""

    uri: str
    """Opens the file from anywhere: local paths are absolute."""
    path: str
    """Below the listed folder, with `/`."""
    size: int
    version: str
    """The etag where the listing has one, else size and time of modification in ns."""


def filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system that `uri` lies in, and its path there. Made once per process, host and credentials.

    Raises:
        SourceError: no such scheme, a package for it is missing, or a host that cannot be reached.
    """
    kind = scheme(uri)
    if kind in ("", "file"):
        return _LOCAL, _local_path(uri)
    with readable(uri):
        if kind not in _ARROW:
            handler, path = fsspec.core.url_to_fs(uri)
            return fs.PyFileSystem(fs.FSSpecHandler(handler)), path
        bare, options = _split_options(uri)
        host, _, key = bare[len(kind) + 3 :].partition("/")
        if kind == "s3":
            return s3.arrow_client(host, options), f"{host}/{key}".rstrip("/")
        found, base = _arrow(kind, host, options)
        return found, f"{base.rstrip('/')}/{key}".rstrip("/")


def scheme(uri: str) -> str:
    """The scheme in lower case; for chained fsspec URIs (zip://a::s3://b) the first; empty for a path."""
    found = _SCHEME.match(uri)
    return found.group(1).lower() if found else ""


def join(uri: str, *parts: str) -> str:
    """`uri` with path parts added, options at its end kept at the end.

    As with `os.path.join`, a part that is a URI, or an absolute path below a local folder, stands for itself.
    """
    bare, options = _split_options(uri)
    for part in parts:
        if scheme(part) or (part.startswith("/") and not scheme(bare)):
            bare, options = _split_options(part)
        else:
            below = quote(part) if scheme(bare) == "file" else part
            bare = f"{bare.rstrip('/')}/{below.lstrip('/')}" if bare.strip("/") else f"{bare}{below}"
    return f"{bare}?{options}" if options else bare


def parent(uri: str) -> str:
    """The folder that a file or folder lies in, options kept."""
    bare, options = _split_options(uri)
    folder = bare.rstrip("/").rpartition("/")[0] or ("/" if bare.startswith("/") else ".")
    return f"{folder}?{options}" if options else folder


def name(uri: str) -> str:
    """The last part of a file's or folder's path, without options."""
    return _split_options(uri)[0].rstrip("/").rpartition("/")[2]


def has_options(name: str, home: str = "") -> bool:
    """Return whether a name ends in options that choose a server, where it or its home is of a scheme with such."""
    return (scheme(name) or home) in _ARROW and _OPTIONS.search(name) is not None


def is_below(folder: str, name: str) -> bool:
    """Return whether `join(folder, name)` lies below the folder. Links are not looked at."""
    base, _ = _split_options(folder)
    whole, _ = _split_options(join(folder, name))
    if scheme(base) in ("", "file") and scheme(whole) in ("", "file"):
        base, whole = _local_path(base), _local_path(whole)
    elif scheme(base) != scheme(whole):
        return False
    below = posixpath.normpath(whole[len(base.rstrip("/")) :].lstrip("/") or ".")
    return whole.startswith(f"{base.rstrip('/')}/") and below.split("/", maxsplit=1)[0] != ".."


def absolute(uri: str) -> str:
    """`uri` as any process on this machine can open it: a local path is made absolute, all else stays."""
    return _local_path(uri) if scheme(uri) in ("", "file") else uri


def read_bytes(uri: str, limit: int = -1) -> bytes:
    """The whole file, or its first `limit` bytes if that is not negative.

    Raises:
        SourceError: it cannot be read; the message says why.
    """
    if scheme(uri) in ("", "file"):
        with readable(uri), Path(_local_path(uri)).open("rb") as file:
            return file.read() if limit < 0 else file.read(min(limit, os.fstat(file.fileno()).st_size))
    objects = _objects(uri)
    if objects is not None:
        with readable(uri):
            return objects.read(limit)
    system, path = filesystem(uri)

    def read() -> bytes:
        if not isinstance(system, fs.PyFileSystem):
            return ranges.read(system, path, limit)
        # Arrow asks fsspec whether it is a file first, and takes a busy server's answer for a no.
        with system.handler.fs.open(path, "rb") as stream:
            return bytes(stream.read() if limit < 0 else stream.read(limit))

    with readable(uri):
        return retrying(read, uri)


def read_if_there(uri: str) -> bytes | None:
    """Return the whole file, or None where there is none: one request fewer than to ask first.

    Raises:
        SourceError: it cannot be read; the message says why.
    """
    try:
        return read_bytes(uri)
    except SourceError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def write_bytes_atomic(uri: str, data: bytes) -> None:
    """Write so that a reader sees the old file, the new one, or none, whenever the writer dies.

    A disk gets a temporary name (hidden, in the same folder), an fsync and a rename; an object store one put; what only
    fsspec speaks whatever its `pipe_file` promises (a put where that is an object store). Missing folders are made.

    Raises:
        OSError: as the file system has it.
    """
    objects = _objects(uri)
    if objects is not None and len(data) <= s3.MOST_IN_ONE_PUT:
        objects.put(data)
        return
    system, path = filesystem(uri)
    folder, _, name = path.rpartition("/")
    if isinstance(system, fs.LocalFileSystem):
        _write_local(Path(path), data)
    elif isinstance(system, fs.PyFileSystem):
        system.create_dir(folder, recursive=True)
        system.handler.fs.pipe_file(path, data)
    elif scheme(uri) in _ONE_PUT:
        _put(system, path, data)
    else:
        system.create_dir(folder, recursive=True)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        _put(system, temporary, data)
        system.move(temporary, path)


def create(uri: str, data: bytes) -> bool:
    """Write a new file as `write_bytes_atomic` does; return False, and write nothing, where there is one.

    Of several processes that do so at once, one is told True on disks, and on S3 where `s3.objects` has a client. Two
    may be told so elsewhere.

    Raises:
        OSError: as the file system has it.
    """
    objects = _objects(uri)
    if objects is not None:
        return objects.create(data)
    system, path = filesystem(uri)
    if isinstance(system, fs.LocalFileSystem):
        return _create_local(Path(path), data)
    if exists(uri):
        return False
    write_bytes_atomic(uri, data)
    return True


def delete(uris: Sequence[str]) -> None:
    """Delete files of one folder, in one request for each thousand where that can be. Missing ones are no error.

    Raises:
        OSError: as the file system has it.
    """
    if not uris:
        return
    each = [_objects(uri) for uri in uris]
    if all(each):
        s3.delete([one for one in each if one is not None])
        return
    for uri in uris:
        system, path = filesystem(uri)
        try:
            system.delete_file(path)
        except FileNotFoundError:
            continue


def fetch(uri: str, path: Path) -> None:
    """Write a remote file's bytes to a local path, without holding them in memory.

    Raises:
        SourceError: it cannot be read.
    """
    system, remote = filesystem(uri)

    def copy() -> None:
        if not isinstance(system, fs.PyFileSystem):
            ranges.fetch(system, remote, path)
            return
        with system.handler.fs.open(remote, "rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, ranges.RANGE_BYTES)

    with readable(uri):
        retrying(copy, uri)


def exists(uri: str) -> bool:
    """Whether a file or a folder is there.

    Raises:
        SourceError: nobody can tell (no permission, no such host).
    """
    system, path = filesystem(uri)
    with readable(uri):
        return bool(system.get_file_info(path).type != fs.FileType.NotFound)


def version(uri: str) -> str | None:
    """The file's version as a listing would give it; None where there is no such file.

    Raises:
        SourceError: nobody can tell.
    """
    system, path = filesystem(uri)
    with readable(uri):
        if isinstance(system, fs.PyFileSystem):
            try:
                found = system.handler.fs.info(path)
            except FileNotFoundError:
                return None
            return listing.fsspec_version(found) if found["type"] == "file" else None
        info = system.get_file_info(path)
        return listing.arrow_version(info) if info.type == fs.FileType.File else None


def list_files(uri: str, suffixes: tuple[str, ...] = ()) -> Iterator[FileEntry]:
    """The files below a folder, at any depth, in an order that depends on their names only.

    Args:
        uri: the folder.
        suffixes: in lower case, with dots; a file is listed if its name ends in one, in any case. () lists all.

    Names that begin with a dot are passed over: they are other programs' leavings, and our own unfinished writes.
    A local folder is walked as a stream that holds one folder's names at a time, follows links and enters no loop; a
    link to nothing is listed, with version "missing". A remote one holds the listings of up to eight direct subfolders.

    Raises:
        SourceError: the folder is missing or cannot be listed; at the first `next`.
    """
    system, path = filesystem(uri)
    with readable(uri):
        if isinstance(system, fs.LocalFileSystem):
            uri, found = path, listing.list_local_files(path)
        elif isinstance(system, fs.PyFileSystem):
            found = listing.list_fsspec_files(system.handler.fs, path)
        else:
            found = listing.list_arrow_files(system, path)
        for below, size, stamp in found:
            if not suffixes or below.lower().endswith(suffixes):
                yield FileEntry(uri=join(uri, below), path=below, size=size, version=stamp or MISSING)


def list_folders(uri: str) -> list[str]:
    """Names of a folder's direct subfolders, sorted, without those that begin with a dot; none where it is missing.

    Raises:
        SourceError: nobody can tell.
    """
    system, path = filesystem(uri)
    with readable(uri):
        found = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        folders = (info.base_name for info in found if info.type == fs.FileType.Directory)
        return sorted(name for name in folders if not name.startswith("."))


_LOCAL = fs.LocalFileSystem()


def _objects(uri: str) -> s3.S3Object | None:
    """Return a file on S3 as an object, where `s3.objects` has a client for it."""
    if scheme(uri) != "s3":
        return None
    bare, options = _split_options(uri)
    bucket, _, key = bare[len("s3://") :].partition("/")
    return s3.find_object(bucket, options, key)


@contextmanager
def readable(uri: str) -> Iterator[None]:
    """Turn what a file system raises about a file or folder into one `SourceError` that names it."""
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"{uri}: there is no such file or folder") from error
    except Exception as error:
        # Every fsspec back end raises its own library's errors, none of which can be named here.
        known = isinstance(error, (OSError, pa.ArrowException, ValueError))
        if isinstance(error, MemoryError) or (scheme(uri) in {"", "file", *_ARROW} and not known):
            raise
        raise SourceError(f"{uri}: cannot be opened ({type(error).__name__}: {_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return (str(error) or "no message").splitlines()[0]


def _split_options(uri: str) -> tuple[str, str]:
    """The URI without the options that choose a server, and those. Any other `?` belongs to a key."""
    found = _OPTIONS.search(uri) if scheme(uri) in _ARROW else None
    return (uri[: found.start()], found.group(1)) if found else (uri, "")


def _local_path(uri: str) -> str:
    path = unquote(urlsplit(uri).path) if scheme(uri) == "file" else uri
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - Path would drop nothing less, and be slower


@lru_cache(maxsize=64)
def _arrow(kind: str, host: str, options: str) -> tuple[fs.FileSystem, str]:
    system, base = fs.FileSystem.from_uri(f"{kind}://{host}/" + (f"?{options}" if options else ""))
    return system, base


def _write_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    # The rename itself must survive a power cut too.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _create_local(path: Path, data: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        return _is_linked(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_linked(temporary: Path, path: Path) -> bool:
    """Give a whole file its name; False where another file has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        # Some disks have no hard links.
        if path.exists():
            return False
        temporary.replace(path)
    return True


def _put(system: fs.FileSystem, path: str, data: bytes) -> None:
    with system.open_output_stream(path) as stream:
        stream.write(data)
