"""Files and folders that appear whole or not at all, and names for images that stay inside them.

Knows file systems. Knows nothing of formats. Image ids come from anywhere ("../x", absolute, endless, any script):
`create_unique_file` and `create_unique_folder` turn each into a fresh path below a folder.
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
from pathlib import Path, PurePosixPath
from typing import IO

from segray.errors import ExportError
from segray.formats.tally import ExportSummary

MARKER = "export.json"
"""Lies in every folder that an export wrote; a folder without it is never replaced."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_PART_BYTES = 120
_MAX_PARTS = 8


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
    record = {"format": form, "images": summary.images, "masks": summary.masks}
    record |= {"skipped": dict(summary.skipped), "skipped_masks": dict(summary.skipped_masks)}
    (folder / MARKER).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def create_unique_file(root: Path, image_id: str, suffix: str) -> Path:
    """Create an empty file for the image below `root`: the id's folders and stem, with this suffix.

    A name that is taken (also by one that differs only in what the file system folds) gets a digest of the id.
    """
    plain = safe_path(image_id)
    for path in (plain.with_name(plain.stem + suffix), PurePosixPath(_digested(plain.stem, image_id) + suffix)):
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch(exist_ok=False)
            return root / path
    raise ExportError(f"no file name is free for image {image_id!r} in {root}: is it among the rows more than once?")


def create_unique_folder(root: Path, image_id: str) -> Path:
    """Create an empty folder for the image below `root`, named like the id; see `create_unique_file`."""
    plain = safe_path(image_id)
    for path in (plain, PurePosixPath(_digested(plain.name, image_id))):
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            (root / path).mkdir(parents=True)
            return root / path
    raise ExportError(f"no folder name is free for image {image_id!r} in {root}: is it among the rows more than once?")


def safe_path(image_id: str) -> PurePosixPath:
    """A relative path for an id: no way up or out, no character or name that some file system refuses, bounded."""
    parts = [part for part in image_id.replace("\\", "/").split("/") if part.strip(". ")]
    return PurePosixPath(*[_safe_part(part) for part in parts[-_MAX_PARTS:]] or ["_"])


def _safe_part(part: str) -> str:
    clean = _UNSAFE.sub("_", part).rstrip(". ") or "_"
    if len(clean.encode()) > _PART_BYTES:
        stem, dot, suffix = clean.rpartition(".")
        tail = dot + suffix if stem and len(suffix) <= 5 else ""
        clean = clean.encode()[: _PART_BYTES - len(tail.encode())].decode(errors="ignore") + tail
    return f"_{clean}" if _RESERVED.fullmatch(clean) else clean


def _digested(stem: str, image_id: str) -> str:
    digest = hashlib.blake2b(image_id.encode(errors="surrogatepass"), digest_size=6).hexdigest()
    return f"{stem}-{digest}"


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
