"""Merging small parts into large ones, and taking one image out of all of them.

Both write what replaces a part before they delete it, so that a kill leaves rows twice at worst (readers give them
once, the next compaction drops the double) and never lost. Both expect the caller to hold the store's lease. Space: one
merged part more than the store holds. Memory: one merged part.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segray.errors import SourceError, StoreError
from segray.storage import commits, files
from segray.store import keys
from segray.store.part_listing import new_generation, with_parts
from segray.store.parts import FOLDER, PART, Part, PartMoved, PartWriter, image_key, keys_of, read_ahead, read_rows
from segray.store.selection import RowFilter, select

PART_BYTES = 128 * 2**20
"""Size at which a merged part is full."""
_DEAD_SHARE = 0.25
"""Share of rows that no longer count from which a large part is written anew."""

Kept = tuple[Part, npt.NDArray[np.bool_]]
"""A part with the rows of it that stay."""
_log = logging.getLogger(__name__)


def merge(store_uri: str, part_bytes: int) -> None:
    """Merge parts below half of `part_bytes`, drop rows that no longer count, write key shards, delete leftovers.

    Raises:
        StoreError: a part is damaged, or something could not be written; the store is valid all the same.
    """
    written: set[str] = set()
    for group in _groups(with_parts(store_uri, _counting), part_bytes):
        _replace(store_uri, group, written)
    with_parts(store_uri, partial(keys.write_shards, store_uri))
    commits.delete_leftovers(files.join(store_uri, FOLDER))
    commits.delete_leftovers(store_uri)


def remove(store_uri: str, image_id: str) -> int:
    """Take every version of an image out of every part. Returns how many rows went.

    Killed on the way, some parts may still hold it: call again.

    Raises:
        StoreError: a part is damaged, or something could not be written.
    """
    removed = 0
    while holding := with_parts(store_uri, partial(_without, image_key(image_id))):
        keys.drop_shards(store_uri)
        for part, kept in holding:
            removed += int((~kept).sum())
            _replace(store_uri, [(part, kept)], set())
    commits.delete_leftovers(files.join(store_uri, FOLDER))
    return removed


def _counting(parts: Sequence[Part]) -> list[Kept]:
    return list(zip(parts, select(parts, RowFilter()).chosen, strict=True))


def _without(image: bytes, parts: Sequence[Part]) -> list[Kept]:
    """The parts that hold an image, each with the rows of all others."""
    held = np.frombuffer(image, "S16")
    kept = (keys_of(table, "image_key") != held for table in read_ahead(parts, ("image_key",)))
    return [(part, rows) for part, rows in zip(parts, kept, strict=True) if not rows.all()]


def _groups(parts: Sequence[Kept], part_bytes: int) -> Iterator[list[Kept]]:
    """What is worth writing anew, in groups that fill a part."""
    group: list[Kept] = []
    group_bytes = 0.0
    for part, kept in parts:
        share = float(kept.mean()) if len(kept) else 0.0
        if part.size >= part_bytes / 2 and share > 1 - _DEAD_SHARE:
            continue
        if group and group_bytes + part.size * share > part_bytes:
            yield group
            group, group_bytes = [], 0.0
        group.append((part, kept))
        group_bytes += part.size * share
    if len(group) > 1 or any(not kept.all() for _, kept in group):
        yield group


def _replace(store_uri: str, group: Sequence[Kept], written: set[str]) -> None:
    """Write the rows of some parts that stay as one part, then delete those parts, but none that is in `written`."""
    try:
        name = _write(store_uri, group)
    except PartMoved as moved:
        _log.warning("%s: %s was written again meanwhile; it is left as it is", store_uri, moved)
        return
    if name is not None:
        written.add(name)
    new_generation(store_uri)
    for part, _ in group:
        if part.name not in written and _is_still(part):
            commits.delete(part.uri)


def _write(store_uri: str, group: Sequence[Kept]) -> str | None:
    """Commit a merged part, named by what it holds; None where no row stays."""
    content = hashlib.blake2b(digest_size=16)
    num_rows = 0
    with PartWriter() as writer:
        for part, kept in group:
            for rows in read_rows(part, kept, PART.names):
                content.update(keys_of(rows).tobytes())
                content.update(rows["written"].cast(pa.int64()).to_numpy().tobytes())
                writer.write(rows)
                num_rows += rows.num_rows
        if not num_rows:
            return None
        # Listed behind what stages write (batch-), so that of two equal rows the merged one counts (see selection).
        name = f"merged-{content.hexdigest()}.parquet"
        commits.commit(files.join(store_uri, FOLDER, name), writer.finish())
    return name


def _is_still(part: Part) -> bool:
    try:
        return files.version(part.uri) == part.version
    except SourceError as error:
        raise StoreError(str(error)) from error
