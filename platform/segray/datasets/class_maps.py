"""Class maps that were made elsewhere, from a folder of PNG or NPY files : a file per image.

An NPY file that holds a dict is a pickle; it is read by an unpickler that makes arrays and numbers and nothing else.
"""

import io
import pickle
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from segray.errors import ImageError, SourceError
from segray.images import decoding
from segray.masks.semantic import UNKNOWN, Map
from segray.storage import files

_MAKERS: Final = {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}


def read_map(folder: str, image_id: str, num_classes: int, *, ending: str = ".png", background: float = 0.4) -> Map:
    """Read an image's class map.

    Args:
        folder: URI of the folder; the file has the image's name with another ending.
        image_id: names the image.
        num_classes: with the background, class 0.
        ending: `.png` or `.npy`.
        background: score of the background where a file holds scores.

    Raises:
        ImageError: there is none ("no-map"), or it cannot be read or holds a class that has no name ("bad-map").
    """
    uri = files.join(folder, PurePosixPath(image_id).with_suffix(ending).as_posix())
    try:
        data = files.read_bytes(uri)
    except SourceError as error:
        raise ImageError("no-map", str(error)) from error
    found = decoding.decode_indices(data) if ending == ".png" else _of_npy(data, background, uri)
    strange = np.setdiff1d(found, [*range(num_classes), UNKNOWN])
    if len(strange):
        raise ImageError("bad-map", f"{uri} holds class {strange[0]}, but {num_classes} classes are named")
    return found


def _of_npy(data: bytes, background: float, uri: str) -> Map:
    try:
        found = _load(data)
    except (ValueError, TypeError, EOFError, pickle.UnpicklingError, AttributeError, IndexError) as error:
        raise ImageError("bad-map", f"{uri}: no array, and no dict of arrays ({error})") from error
    if isinstance(found, dict):
        return _of_scores(found, background, uri)
    if found.ndim != 2 or found.dtype.kind not in "ui" or found.size == 0:
        raise ImageError("bad-map", f"{uri}: a class map is (H, W) whole numbers, this is {found.shape} {found.dtype}")
    if found.min() < 0 or found.max() > UNKNOWN:
        raise ImageError("bad-map", f"{uri}: holds {found.min()} to {found.max()}, classes are 0 to {UNKNOWN}")
    return np.asarray(found, dtype=np.uint8)


def _of_scores(scores: dict[int, npt.NDArray[np.floating]], background: float, uri: str) -> Map:
    """The class of the greatest score at each pixel, or the background; keys count from 0 without it."""
    if not scores:
        raise ImageError("bad-map", f"{uri}: an empty dict says no size; images without a class need an array of zeros")
    classes = sorted(scores)
    stacked = np.stack([scores[one] for one in classes])
    stacked = np.concatenate([np.full_like(stacked[:1], background), stacked])
    ids = np.array([0, *(int(one) + 1 for one in classes)], dtype=np.uint8)
    return np.asarray(ids[stacked.argmax(0)])


def _load(data: bytes) -> Any:
    """An array, or the dict in a zero-dimensional object array."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if not dtype.hasobject:
        return np.load(io.BytesIO(data), allow_pickle=False)
    if shape != ():
        raise ValueError(f"an array of objects of shape {shape}")
    held = _Unpickler(file).load().item()
    if not isinstance(held, dict) or not all(isinstance(one, np.ndarray) and one.ndim == 2 for one in held.values()):
        raise ValueError("not a dict of (H, W) arrays")
    return held


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".", maxsplit=1)[0] == "numpy" and name in _MAKERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")
