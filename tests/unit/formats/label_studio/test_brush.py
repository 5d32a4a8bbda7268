"""Brush masks: against bits packed by hand, against what Label Studio's converter wrote, and there and back."""

import hashlib
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from segray.formats.label_studio import brush
from segray.masks import rle


def disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 3) ** 2 < (min(height, width) / 3) ** 2


def noise(height: int, width: int) -> np.ndarray:
    return (np.arange(height * width) * 2654435761 % 97 < 40).reshape(height, width)


MASKS = {
    "empty": np.zeros((5, 7), dtype=bool),
    "full": np.ones((5, 7), dtype=bool),
    "one pixel": np.ones((1, 1), dtype=bool),
    "last pixel": np.arange(12).reshape(3, 4) == 11,
    "disc": disc(60, 81),
    "noise": noise(33, 47),
    "runs beyond 16 bits": np.repeat([[False], [True], [False]], [300, 401, 2], axis=0)
    & np.ones((703, 500), dtype=bool),
}

WRITTEN = {
    "empty": "2e7ddee9c0e29183",
    "full": "00bed934bd8dcfaf",
    "one pixel": "d87e7df7f4007cbe",
    "last pixel": "2579b71787012da9",
    "disc": "7f3176505eb0ffed",
    "noise": "e4336b961d8e4ce5",
    "runs beyond 16 bits": "17f4e72f2d5491e2",
}
"""What label-studio-converter 0.0.59 wrote for these masks: the first 16 digits of the bytes' SHA-256."""


def counts_of(mask: np.ndarray) -> rle.Counts:
    return rle.encode(mask[None])[0]


@pytest.mark.parametrize("name", MASKS)
def test_there_and_back(name: str) -> None:
    counts = counts_of(MASKS[name])
    size_hw = MASKS[name].shape
    packed = brush.encode(counts, size_hw)
    assert all(type(byte) is int for byte in packed)
    assert brush.decode(packed, size_hw) == counts


@pytest.mark.parametrize("name", WRITTEN)
def test_same_bytes_as_the_converter(name: str) -> None:
    packed = brush.encode(counts_of(MASKS[name]), MASKS[name].shape)
    # The converter pads by a whole zero byte where the bits already fill one.
    found = [hashlib.sha256(bytes(padded)).hexdigest()[:16] for padded in (packed, [*packed, 0])]
    assert WRITTEN[name] in found


@pytest.fixture(scope="module")
def converter() -> ModuleType:
    """Label Studio's own module, loaded alone: its package needs much that `make` does not install."""
    package = find_spec("label_studio_sdk")
    if package is None or package.origin is None:
        pytest.skip("label-studio-sdk is not installed")
    spec = spec_from_file_location("label_studio_brush", Path(package.origin).with_name("converter") / "brush.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", MASKS)
def test_both_ways_through_the_installed_converter(name: str, converter: ModuleType) -> None:
    mask, size_hw = MASKS[name], MASKS[name].shape
    theirs = converter.mask2rle(mask.astype(np.uint8) * 255)
    assert brush.decode(theirs, size_hw) == counts_of(mask)
    ours = converter.decode_rle(brush.encode(counts_of(mask), size_hw))
    assert np.array_equal(ours.reshape(*size_hw, 4)[:, :, 3] > 0, mask)


def pack(*fields: tuple[int, int]) -> list[int]:
    """(value, bits) fields as bytes, by way of a string: slow and plain."""
    text = "".join(f"{value:0{bits}b}" for value, bits in fields)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


HEADER = [(7, 5), (1, 4), (2, 4), (7, 4), (15, 4)]


def test_bits_by_hand() -> None:
    """A 1 x 3 image: a coloured pixel written out, then two clear ones as a run; widths other than the usual."""
    packed = pack(
        (12, 32), *HEADER, (0, 1), (0, 2), (3, 2), (200, 8), (30, 8), (4, 8), (255, 8), (1, 1), (1, 2), (7, 3), (0, 8)
    )
    assert rle.decode([brush.decode(packed, (1, 3))], (1, 3)).tolist() == [[[True, False, False]]]


def test_only_alpha_counts() -> None:
    packed = pack((8, 32), *HEADER, (0, 1), (1, 2), (7, 3), *[(value, 8) for value in (9, 9, 9, 0, 0, 0, 0, 1)])
    assert rle.decode([brush.decode(packed, (1, 2))], (1, 2)).tolist() == [[[False, True]]]


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ([], "list of bytes"),
        (pack((12, 32), *HEADER, (1, 1), (2, 2)), "cut short"),
        (pack((12, 32), *HEADER, (0, 1), (2, 2), (11, 8), (1, 8)), "cut short"),
        (pack((16, 32), *HEADER, (1, 1), (2, 2), (15, 8), (0, 8)), "16 words"),
        (pack((12, 32), *HEADER, (1, 1), (2, 2), (200, 8), (0, 8)), "ends at value 201 of 12"),
        ([300, -1], "list of bytes"),
        ("text", "list of bytes"),
        ([[1], [2]], "list of bytes"),
        ([0.5], "list of bytes"),
    ],
)
def test_what_is_no_brush_mask_says_so(packed: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        brush.decode(packed, (1, 3))
