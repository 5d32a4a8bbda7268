"""Whole files out of an object store: few requests, side by side, straight into place.

A file is read in ranges, each with a handle of its own, since a handle has one position. Opening a handle asks for the
size and reading asks for the range, so that a file costs two requests for each 32 MiB. `s3` reads with one request for
each range where it can. Knows pyarrow's file systems and paths in them, no URIs.
"""

import io
import mmap
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from pyarrow import fs

RANGE_BYTES: Final = 32 * 2**20
"""Bytes of one range."""
THREADS: Final = 8
"""Ranges in flight."""


def read(system: fs.FileSystem, path: str, limit: int = -1) -> bytes:
    """Return the whole file, or its first `limit` bytes if that is not negative.

    Raises:
        OSError: it cannot be read, or it became shorter meanwhile.
    """
    with system.open_input_file(path) as first:
        size = first.size() if limit < 0 else min(limit, first.size())
        # Its buffer is a bytes object that nobody else holds, which is filled here and handed out without a copy.
        whole = io.BytesIO(bytes(size))
        with whole.getbuffer() as view:
            _fill(system, path, view, first)
    return whole.getvalue()


def fetch(system: fs.FileSystem, path: str, target: Path) -> None:
    """Write the whole file to a local path, through the page cache.

    Raises:
        OSError: it cannot be read, became shorter meanwhile, or the disk is full.
    """
    with system.open_input_file(path) as first, target.open("w+b") as file:
        size = first.size()
        if not size:
            return
        # Reserved, since a full disk would end the process once it is met through the mapping.
        os.posix_fallocate(file.fileno(), 0, size)
        with mmap.mmap(file.fileno(), size) as mapped, memoryview(mapped) as view:
            _fill(system, path, view, first)


def _fill(system: fs.FileSystem, path: str, view: memoryview, first: Any) -> None:
    def fill(start: int) -> None:
        with view[start : start + RANGE_BYTES] as place:
            if not start:
                _fill_place(first.readinto, place, path)
                return
            with system.open_input_file(path) as file:
                file.seek(start)
                _fill_place(file.readinto, place, path)

    side_by_side(fill, range(0, len(view), RANGE_BYTES))


def side_by_side(fill: Callable[[int], None], starts: Sequence[int]) -> None:
    """Call `fill` for the start of each range, in threads where there are several."""
    if len(starts) <= 1:
        for start in starts:
            fill(start)
        return
    with ThreadPoolExecutor(min(THREADS, len(starts))) as pool:
        list(pool.map(fill, starts))


def _fill_place(readinto: Callable[[memoryview], int | None], place: memoryview, path: str) -> None:
    read = 0
    while read < len(place):
        number = readinto(place[read:])
        if not number:
            raise OSError(f"{path}: became shorter while it was read")
        read += number
