"""Committing and deleting a store's files, with errors that say what to do. Knows nothing of what is in them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pyarrow import fs

from segray.errors import SourceError, StoreError
from segray.storage import files

_FULL = "the disk is full or a quota is reached: free space or move the store, then run the same command again"
_REFUSED = "writing there is not allowed: give a folder that this user may write to"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.EROFS: _REFUSED,
}

LEFTOVER_AGE = timedelta(hours=1)
"""A temporary file older than this belongs to no living writer."""


@contextmanager
def os_errors_as_store_errors(uri: str) -> Iterator[None]:
    """Turn what writing below `uri` may raise into one error that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the path, the connection and the credentials")
        raise StoreError(
            f"{uri}: cannot be reached or written ({error}); {remedy}. What was committed before is intact"
        ) from error


@contextmanager
def as_store_errors(uri: str) -> Iterator[None]:
    """Turn what files and object stores raise into one error of the store."""
    try:
        with os_errors_as_store_errors(uri):
            yield
    except SourceError as error:
        raise StoreError(str(error)) from error


def commit(uri: str, data: Any) -> None:
    """Write bytes, or a buffer, whole or not at all.

    Raises:
        StoreError: it could not be written; what was there before still is.
    """
    with as_store_errors(uri):
        files.write_bytes_atomic(uri, data)


def create(uri: str, data: bytes) -> bool:
    """Write a new file, whole or not at all; return False, and write nothing, where there is one.

    Raises:
        StoreError: it could not be written.
    """
    with as_store_errors(uri):
        return files.create(uri, data)


def delete(*uris: str) -> None:
    """Delete files of one folder. Missing files are no error.

    Raises:
        StoreError: one is there and cannot be deleted.
    """
    with as_store_errors(uris[0] if uris else ""):
        files.delete(uris)


def delete_folder(uri: str) -> None:
    """Delete a folder and all below it. A missing folder is not an error.

    Raises:
        StoreError: it is there and cannot be deleted.
    """
    with as_store_errors(uri):
        system, path = files.filesystem(uri)
        try:
            system.delete_dir(path)
        except FileNotFoundError:
            return


def subfolders(uri: str) -> list[str]:
    """URIs of the folders directly in a folder, by name; none where it is missing."""
    infos = _children(uri)
    return [files.join(uri, info.base_name) for info in infos if info.type == fs.FileType.Directory]


def delete_leftovers(uri: str) -> None:
    """Delete what killed writers left in a folder: hidden temporary files that nobody can be writing any more."""
    latest = datetime.now(UTC) - LEFTOVER_AGE
    for info in _children(uri):
        temporary = info.base_name.startswith(".") and info.base_name.endswith(".tmp")
        if temporary and info.mtime is not None and info.mtime < latest:
            delete(files.join(uri, info.base_name))


def _children(uri: str) -> list[fs.FileInfo]:
    with as_store_errors(uri):
        system, path = files.filesystem(uri)
        return sorted(
            system.get_file_info(fs.FileSelector(path, allow_not_found=True)), key=lambda info: info.base_name
        )
