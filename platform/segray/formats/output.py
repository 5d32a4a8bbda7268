"""Files and folders that appear whole or not at all, and names for images that stay inside them.

Knows file systems. Knows nothing of formats. Image ids come from anywhere ("../x", absolute, endless, any script):
`create_unique_file` and `create_unique_folder` turn each into a fresh path below a folder, of the id's own name
wherever it can be.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from segray.errors import ExportError
from segray.formats.tally import ExportSummary

MARKER = "export.json"
"""Lies in every folder that an export wrote; a folder without it is never replaced."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_OF_NAMES = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
"""Errors that mean that a name is taken, or none that the file system takes."""
_PLAIN = re.compile(r"[^\w.-]")
_PLAIN_BYTES = 120


@contextlib.contextmanager
def atomic_file(out: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """A binary file to write, which becomes `out` when the block ends well and nothing otherwise.

    Raises:
        ExportError: `out` exists and may not be replaced, or the file system refuses.
    """
    with _as_export_errors(out):
        if out.is_dir() or (out.exists() and not overwrite):
            raise ExportError(_exists(out, "a folder" if out.is_dir() else "a file"))
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name[:80]}.", suffix=".partial", dir=out.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(out)
        finally:
            Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A fresh folder to write into, which becomes `out` when the block ends well and nothing otherwise.

    Only a folder that an export wrote (it holds `MARKER`), or an empty one, is ever replaced.

    Raises:
        ExportError: `out` exists and may not be replaced, or the file system refuses.
    """
    with _as_export_errors(out):
        _check_folder(out, overwrite)
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name[:80]}.", suffix=".partial", dir=out.parent))
        fresh = scratch / "new"
        try:
            fresh.mkdir()
            yield fresh
            if out.exists():
                out.rename(scratch / "old")
            fresh.rename(out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def write_marker(folder: Path, form: str, summary: ExportSummary) -> None:
    """Say in the folder what it is and what it holds."""
    record = {"format": form, "images": summary.images, "masks": summary.masks, "tally": summary.tally.to_json()}
    (folder / MARKER).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """A fresh file or folder for an image."""

    path: Path
    is_kept: bool
    """Whether it has the image's own name."""


def create_unique_file(root: Path, image_id: str, suffix: str) -> Place:
    """Create an empty file for the image below `root`: the id's folders and stem, with this suffix.

    A name that the file system does not take, or that another image has (by what the file system folds, too), gets a
    digest of the id.
    """
    own = own_path(image_id)
    stem = image_id if own is None else own.stem
    plain = None if own is None else own.with_name(stem + suffix)
    for path, is_kept in ((plain, True), (PurePosixPath(_digested(stem, image_id) + suffix), False)):
        if path is not None and _is_created(root / path, is_folder=False):
            return Place(root / path, is_kept)
    raise ExportError(f"no file name is free for image {image_id!r} in {root}: is it among the rows more than once?")


def create_unique_folder(root: Path, image_id: str) -> Place:
    """Create an empty folder for the image below `root`, named like the id; see `create_unique_file`."""
    own = own_path(image_id)
    name = image_id if own is None else own.name
    for path, is_kept in ((own, True), (PurePosixPath(_digested(name, image_id)), False)):
        if path is not None and _is_created(root / path, is_folder=True):
            return Place(root / path, is_kept)
    raise ExportError(f"no folder name is free for image {image_id!r} in {root}: is it among the rows more than once?")


def own_path(image_id: str) -> PurePosixPath | None:
    """Return an id as a path below a folder; None where it is absolute, leads up, or is no name of a file."""
    parts = image_id.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in image_id:
        return None
    try:
        os.fsencode(image_id)
    except UnicodeEncodeError:
        return None
    return PurePosixPath(*parts)


def _is_created(path: Path, *, is_folder: bool) -> bool:
    """Create a file or folder that is not there yet; False where it is, or where the file system takes no such name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if is_folder else path.touch(exist_ok=False)
    except OSError as error:
        if error.errno in _OF_NAMES:
            return False
        raise
    return True


def _digested(stem: str, image_id: str) -> str:
    """Return a short plain name that is this id's alone."""
    digest = hashlib.blake2b(image_id.encode(errors="surrogatepass"), digest_size=6).hexdigest()
    plain = _PLAIN.sub("_", stem.rpartition("/")[2]).strip("._") or "image"
    return f"{plain.encode()[:_PLAIN_BYTES].decode(errors='ignore')}-{digest}"


def _check_folder(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not overwrite:
        raise ExportError(_exists(out, "a folder" if out.is_dir() else "a file"))
    if not (out / MARKER).is_file():
        raise ExportError(
            f"{out} was not written by an export (it has no {MARKER}) and is not replaced: give a new path"
        )


def _exists(out: Path, kind: str) -> str:
    return f"{out} is there already, {kind}: give another path, or --overwrite to replace what an export wrote"


@contextlib.contextmanager
def _as_export_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Rows are read while files are written: only what happened beside `out` is the export's own.
        if error.errno not in _FULL and not str(error.filename or "").startswith(str(out.parent)):
            raise
        raise ExportError(f"cannot write {out}: {error.strerror}; free space or give another path") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
