"""The check of images before they are trained or measured on, so that a run does not end at a bad file hours later.

Each image costs one read at most: of a sample the whole file, which is decoded; of all others the header, which says
the size. Where that read holds the whole file, or its end lies on a local disk, the end is looked at too: a JPEG or PNG
without its end marker, and any other kind of image, is decoded. So every cut file of a disk is found, of an object
store every small one, and of the large ones there those of the sample. Knows rows, pixels and files; no methods.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from segray.datasets.training_rows import LeftOut, TrainingRow, TrainingRows
from segray.errors import ImageError, SourceError, TrainError
from segray.formats.source import Source
from segray.formats.store.reader import refusal
from segray.images import decoding
from segray.images.decoding import Bands, Pixels
from segray.storage import files
from segray.storage.prefetch import map_in_order
from segray.tally import Reason, Tally

log = logging.getLogger(__name__)

OTHER_SIZE = Reason("other-size", "are of another size than their masks", is_damage=True)
SAMPLE: Final = 64
"""Number of images that are decoded, drawn at random."""
_HEADER: Final = 64 << 10
"""Bytes in which nearly every image file says its size."""
_END: Final = 4 << 10
"""Bytes in which the end of an image is looked for: some cameras write a little behind it."""
_END_MARKERS: Final = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}
_READ_WHOLE: Final = (".webp", ".avif", ".heic", ".heif")
"""Kinds of which no reader knows the size from the beginning alone."""


def checked_rows(
    open_source: Callable[[], Source],
    path: Path,
    *,
    max_damaged: float,
    where: str,
    remembered: str | None = None,
    without: Mapping[str, LeftOut] = MappingProxyType({}),
    **options: Any,
) -> tuple[TrainingRows, Tally]:
    """Build rows of the images that can be used, and return them with the tally of what was left out.

    Args:
        open_source: opens the source; called again where images are left out.
        path: file of the rows.
        max_damaged: largest share of damaged annotations or images with which the caller works.
        where: name of the source, with which errors and log lines begin.
        remembered: URI of a folder that keeps what the check found, so that the same images are looked at once.
        without: images to leave out, by their URIs.
        options: see `TrainingRows.build`.

    Raises:
        DamageError: more of the source is damaged than `max_damaged`.
        SourceError, TrainError: the source cannot be read; nothing to learn from; classes that do not fit.
    """
    rows, tally = _built(open_source(), path, max_damaged, where, without, options)
    flaws = _remembered_flaws(rows, remembered, max_damaged, where)
    if flaws:
        rows, tally = _built(open_source(), path, max_damaged, where, {**flaws, **without}, options)
        for line in tally.lines():
            log.warning("%s: %s", where, line)
        log.warning("%s: to mend one of them makes other data: the same command then begins a run at step 0", where)
    return rows, tally


def _built(
    source: Source, path: Path, max_damaged: float, where: str, without: Mapping[str, LeftOut], options: dict[str, Any]
) -> tuple[TrainingRows, Tally]:
    try:
        rows = TrainingRows.build(source, path, without=without, **options)
    except TrainError as error:
        # What is damaged or left out says why nothing is left to learn from.
        source.tally.check(max_damaged, where)
        raise TrainError("\n  ".join([f"{where}: {error}", *source.tally.lines()])) from error
    source.tally.check(max_damaged, where)
    return rows, source.tally


def _remembered_flaws(rows: TrainingRows, folder: str | None, max_damaged: float, where: str) -> dict[str, LeftOut]:
    """Return what is wrong with the rows' images, by URI: as an earlier check of the same rows found it, or anew."""
    if folder is None:
        return flaws_of(rows, max_damaged=max_damaged, where=where)
    uri = files.join(folder, f"{rows.digest()}.json")
    if files.exists(uri):
        known = json.loads(files.read_bytes(uri))
        return {one: LeftOut(reason=Reason(*reason), example=example) for one, reason, example in known}
    found = flaws_of(rows, max_damaged=max_damaged, where=where)
    plain = [[one, astuple(flaw.reason), flaw.example] for one, flaw in found.items()]
    files.write_bytes_atomic(uri, json.dumps(plain).encode())
    return found


def flaws_of(rows: TrainingRows, *, max_damaged: float, where: str) -> dict[str, LeftOut]:
    """Look at every image and return by URI what is wrong with those that cannot be used.

    Args:
        rows: images, with masks where these are known.
        max_damaged: share of damaged images with which the caller works.
        where: beginning of an error's message.

    Raises:
        DamageError: the sample shows that surely more of all images are damaged; the others were not looked at.
    """
    order = np.random.default_rng(0).permutation(len(rows))
    sample, others = order[:SAMPLE], np.sort(order[SAMPLE:])
    found = _flaws(rows, sample, whole=True)
    tally = Tally()
    tally.use("images", len(sample) - len(found))
    for flaw in found.values():
        tally.leave_out("images", flaw.reason, flaw.example)
    tally.check_sample(max_damaged, where)
    return found | _flaws(rows, others, whole=False)


def _flaws(rows: TrainingRows, indices: npt.NDArray[np.int64], *, whole: bool) -> dict[str, LeftOut]:
    def look(index: np.int64) -> tuple[str, LeftOut | None]:
        row = rows.row(int(index))
        return row.uri, _flaw(row, rows.bands, whole=whole)

    return {uri: flaw for uri, flaw in map_in_order(look, indices) if flaw is not None}


def _flaw(row: TrainingRow, bands: Bands | None, *, whole: bool) -> LeftOut | None:
    try:
        size_hw = _size_hw(row.uri, bands, whole=whole)
    except ImageError as error:
        return LeftOut(reason=refusal(error.reason), example=f"{row.image_id}: {error.detail}")
    if row.instances is None or row.instances.size_hw == size_hw:
        return None
    example = f"{row.image_id}: (height, width) {size_hw}, its masks are for {row.instances.size_hw}"
    return LeftOut(reason=OTHER_SIZE, example=example)


def _size_hw(uri: str, bands: Bands | None, *, whole: bool) -> tuple[int, int]:
    """Return height and width of an image that seems to be whole."""
    if whole:
        return _decoded_hw(decoding.load(uri, decoding.MOST_PIXELS, bands)[0])
    limit = -1 if uri.lower().endswith(_READ_WHOLE) else _HEADER
    try:
        data = files.read_bytes(uri, limit)
        is_all = len(data) != limit
        end = data[-_END:] if is_all else _end_on_disk(uri)
    except (SourceError, OSError) as error:
        raise ImageError("unreadable", str(error)) from error
    if end is None or _ends_well(data, end):
        try:
            return decoding.probe(data)
        except ImageError:
            if is_all:
                raise  # else its header may be longer than what was read
    if is_all:
        return _decoded_hw(decoding.decode(data, decoding.MOST_PIXELS, bands))
    return _decoded_hw(decoding.load(uri, decoding.MOST_PIXELS, bands)[0])


def _decoded_hw(pixels: Pixels) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    return height, width


def _end_on_disk(uri: str) -> bytes | None:
    """Return a file's last bytes; None where they would cost another request."""
    if files.scheme(uri) not in ("", "file"):
        return None
    with Path(files.absolute(uri)).open("rb") as file:
        file.seek(-_END, os.SEEK_END)
        return file.read()


def _ends_well(start: bytes, end: bytes) -> bool:
    """Return whether a file has its kind's end marker; one of a kind without such a marker has none."""
    return any(start.startswith(first) and mark in end for first, mark in _END_MARKERS.items())
