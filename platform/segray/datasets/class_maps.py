"""Class maps that were made elsewhere, from a folder of PNG, NPY or NPZ files: a file per image.

Nothing is unpickled. The dictionaries of class activations that SEPL's and IRN's code saves are pickles, and come in by
`python -m tools.convert_cams` (docs/methods/sepl.md#maps-made-elsewhere).
"""

import io
import zipfile
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from segray.errors import ImageError, SourceError
from segray.images import decoding
from segray.masks.semantic import UNKNOWN, Map
from segray.storage import files, names

_BROKEN: Final = (ValueError, TypeError, EOFError, OSError, MemoryError, zipfile.BadZipFile, KeyError, SyntaxError)
"""What NumPy raises at files that are none of its own."""
_MOST_PIXELS: Final = 1 << 28
"""Largest map or stack of maps; a header may promise more than the memory holds."""


def read_map(folder: str, image_id: str, num_classes: int, *, ending: str = ".png", background: float = 0.4) -> Map:
    """Read an image's class map.

    Args:
        folder: URI of the folder; the file has the image's name with another ending.
        image_id: names the image.
        num_classes: with the background, class 0.
        ending: `.png`, `.npy` or `.npz`.
        background: score of the background where a file holds scores.

    Raises:
        ImageError: there is none ("no-map"), or it cannot be read or holds a class that has no name ("bad-map").
    """
    try:
        uri = names.resolve(folder, PurePosixPath(image_id).with_suffix(ending).as_posix())
        data = files.read_bytes(uri)
    except SourceError as error:
        raise ImageError("no-map", str(error)) from error
    if ending == ".png":
        found = decoding.decode_indices(data)
    else:
        found = _of_scores(_scores(data, uri), background, uri) if ending == ".npz" else _indices(data, uri)
    strange = np.setdiff1d(found, [*range(num_classes), UNKNOWN])
    if len(strange):
        raise ImageError("bad-map", f"{uri} holds class {strange[0]}, but {num_classes} classes are named")
    return found


def _indices(data: bytes, uri: str) -> Map:
    """Return the array of an NPY file."""
    try:
        found = _array(io.BytesIO(data))
    except _BROKEN as error:
        raise ImageError("bad-map", f"{uri}: no array ({error})") from error
    if found.ndim != 2 or found.dtype.kind not in "ui" or found.size == 0:
        raise ImageError("bad-map", f"{uri}: a class map is (H, W) whole numbers, this is {found.shape} {found.dtype}")
    if found.min() < 0 or found.max() > UNKNOWN:
        raise ImageError("bad-map", f"{uri}: holds {found.min()} to {found.max()}, classes are 0 to {UNKNOWN}")
    return np.asarray(found, dtype=np.uint8)


def _scores(data: bytes, uri: str) -> dict[int, npt.NDArray[Any]]:
    """Return the score maps of an NPZ file by class; the arrays are called `0`, `1`, ..."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found: dict[int, npt.NDArray[Any]] = {}
            for member in archive.infolist():
                if member.file_size > _MOST_PIXELS:
                    raise ValueError(f"{member.filename} is of {member.file_size} bytes")
                found[int(member.filename.removesuffix(".npy"))] = _array(io.BytesIO(archive.read(member)))
    except (*_BROKEN, RuntimeError, NotImplementedError) as error:
        raise ImageError("bad-map", f"{uri}: not score maps by class ({error})") from error
    shapes = {one.shape for one in found.values()}
    if len(shapes) > 1 or any(one.ndim != 2 or one.dtype.kind not in "fui" for one in found.values()):
        raise ImageError("bad-map", f"{uri}: scores are (H, W) numbers of one size, these are {sorted(shapes)}")
    if any(not 0 <= name < UNKNOWN for name in found):
        raise ImageError("bad-map", f"{uri}: classes are 0 to {UNKNOWN - 1}, these are {sorted(found)}")
    return found


def _array(file: io.BytesIO) -> npt.NDArray[np.generic]:
    """Read an NPY file, whose header must not promise more than there is.

    Raises:
        ValueError: it holds objects, which are pickles, or is larger than maps are.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read: convert it by `python -m tools.convert_cams`")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > _MOST_PIXELS or size > file.getbuffer().nbytes:
        raise ValueError(f"its header promises {size} bytes")
    file.seek(0)
    return np.asarray(np.load(file, allow_pickle=False))


def _of_scores(scores: dict[int, npt.NDArray[Any]], background: float, uri: str) -> Map:
    """Return the class of the greatest score at each pixel, or the background; keys count from 0 without it."""
    if not scores:
        raise ImageError("bad-map", f"{uri}: holds no map, so no size; images without a class need an array of zeros")
    classes = sorted(scores)
    stacked = np.stack([scores[one] for one in classes])
    stacked = np.concatenate([np.full_like(stacked[:1], background), stacked])
    ids = np.array([0, *(one + 1 for one in classes)], dtype=np.uint8)
    return np.asarray(ids[stacked.argmax(0)])
