"""Walking the folders of each kind of file system: what `files.list_files` lists, in an order by names alone.

Names that begin with a dot are passed over everywhere. Knows paths inside one file system, no URIs; raises what that
raises.
"""

import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pyarrow import fs

from segray.storage.prefetch import map_in_order


class ListedFile(NamedTuple):
    """A file below the walked folder."""

    path: str
    size: int
    version: str | None
    """None for a link to nothing."""


def list_local_files(
    folder: str, below: str = "", above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[ListedFile]:
    """Depth first, by name. `above` are the folders this one lies in: a link to one of them is a loop."""
    own = Path(folder).stat()
    identity = (own.st_dev, own.st_ino)
    if identity in above:
        return
    with os.scandir(folder) as found:
        children = sorted((child for child in found if not child.name.startswith(".")), key=lambda child: child.name)
    for child in children:
        path = f"{below}{child.name}"
        info = _stat(child)
        if info is None:
            yield ListedFile(_text(path), 0, None)
        elif stat.S_ISDIR(info.st_mode):
            yield from list_local_files(child.path, f"{path}/", above | {identity})
        elif stat.S_ISREG(info.st_mode):
            yield ListedFile(_text(path), info.st_size, f"{info.st_size}-{info.st_mtime_ns}")


def list_arrow_files(system: fs.FileSystem, root: str) -> Iterator[ListedFile]:
    """Direct subfolders each as one flat listing (a thousand keys a request), a few of them ahead, in order."""

    def files(infos: list[fs.FileInfo]) -> Iterator[ListedFile]:
        for info in sorted(infos, key=lambda info: str(info.path)):
            path = info.path[len(root) :].lstrip("/")
            if info.type == fs.FileType.File and not _hidden(path):
                yield ListedFile(path, info.size, arrow_version(info))

    def below(folder: str) -> list[fs.FileInfo]:
        return list(system.get_file_info(fs.FileSelector(folder, recursive=True)))

    children = sorted(system.get_file_info(fs.FileSelector(root)), key=lambda info: str(info.path))
    yield from files(children)
    folders = (child.path for child in children if child.type == fs.FileType.Directory and not _hidden(child.base_name))
    for infos in map_in_order(below, folders):
        yield from files(infos)


def list_fsspec_files(system: Any, root: str) -> Iterator[ListedFile]:
    """All at once, as fsspec has it."""
    if not system.isdir(root):
        raise FileNotFoundError(root)
    for full, info in sorted(system.find(root, detail=True).items()):
        path = full[len(root) :].lstrip("/")
        if not _hidden(path):
            yield ListedFile(path, info["size"] or 0, fsspec_version(info))


def arrow_version(info: fs.FileInfo) -> str:
    """Size and time of modification: pyarrow's listings carry no etag, and asking for it is a request per file."""
    return f"{info.size}-{info.mtime_ns}"


def fsspec_version(info: dict[str, Any]) -> str:
    """The etag under the names that fsspec's back ends give it, else size and whatever time is known."""
    for name in ("ETag", "etag", "md5Hash", "md5", "content_md5"):
        if info.get(name):
            return str(info[name]).strip('"')
    times = (info[name] for name in ("mtime", "LastModified", "last_modified", "updated", "created") if info.get(name))
    moment = next(times, "")
    # One back end gives the same moment as a number from a listing and as a datetime from a single look.
    return f"{info['size']}-{moment.timestamp() if isinstance(moment, datetime) else moment}"


def _stat(child: os.DirEntry[str]) -> os.stat_result | None:
    """None for a link to nothing or to itself, and for a file that went away meanwhile."""
    try:
        return child.stat()
    except OSError:
        return None


def _text(name: str) -> str:
    """Names whose bytes are not UTF-8 get visible escapes: no table holds them, and they end as rows with an error."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))
