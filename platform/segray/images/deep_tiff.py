"""TIFFs that Pillow does not read, or reads with eight bits of a sample: deep samples, more bands than colours.

They come from microscopes, satellites and survey cameras. tifffile reads them; what is made of them is one channel or
three, of numbers of any type, and an alpha channel where the file has one. Knows no URIs and no rows.
"""

import io
import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tifffile

from segray.errors import ImageError

Numbers = npt.NDArray[np.generic]

MOST_COLOURS = 4
"""Up to so many bands, the first three are red, green and blue; beyond, somebody must choose."""
_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GREY_OR_RGB = (0, 1, 2)
_ALPHA = (1, 2)

# Its warnings would be lines without a file's name; what fails is an error of ours, with one.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True, kw_only=True)
class DeepTiff:
    """The first page of such a file, its pixels still packed."""

    page: tifffile.TiffPage
    num_file_bytes: int
    height: int
    width: int
    bands: int

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height as stored."""
        return self.width, self.height

    @property
    def orientation(self) -> int:
        """Return EXIF's orientation; 1 where the file has none."""
        found = self.page.tags.valueof(274, default=1)
        return found if isinstance(found, int) else 1

    @property
    def num_bytes(self) -> int:
        """Return the number of bytes of its pixels, unpacked."""
        return self.height * self.width * self.bands * (self.page.dtype.itemsize if self.page.dtype else 8)


def parse(data: bytes) -> DeepTiff | None:
    """Return the first page of a TIFF that is for this module; None for every other file.

    Raises:
        Exception: whatever tifffile raises on a damaged header.
    """
    if not data.startswith(_BEGINNINGS):
        return None
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    if not isinstance(page, tifffile.TiffPage) or page.photometric not in _GREY_OR_RGB or page.imagedepth != 1:
        return None
    bands = int(page.samplesperpixel)
    is_deep = page.bitspersample > 8 or page.sampleformat not in (1, 4)
    has_no_colours = page.photometric != 2 and bands > 2
    if bands > MOST_COLOURS or has_no_colours or (is_deep and bands > 1) or page.sampleformat == 3:
        return DeepTiff(
            page=page, num_file_bytes=len(data), height=int(page.imagelength), width=int(page.imagewidth), bands=bands
        )
    return None


def read(tiff: DeepTiff, bands: tuple[int, int, int] | None) -> tuple[Numbers, npt.NDArray[np.float32] | None]:
    """Unpack colours (H, W) or (H, W, 3), of the file's own type, and alpha (H, W) from 0 to 1 where there is one.

    Args:
        tiff: what `parse` found.
        bands: the three bands, counted from 1, that are red, green and blue of an image of more than four.

    Raises:
        ImageError: "unsupported": the bands to show are not known or not there, or a way of packing is unknown;
            "damaged": the file ends before its pixels.
        Exception: whatever tifffile raises on damaged pixels.
    """
    shown = _shown(tiff, bands)
    # tifffile fills what is missing of a cut file with zeros.
    parts = zip(tiff.page.dataoffsets, tiff.page.databytecounts, strict=True)
    if any(start + length > tiff.num_file_bytes for start, length in parts):
        raise ImageError("damaged", "its pixels lie beyond its end")
    try:
        values = tiff.page.asarray()
    except (NotImplementedError, tifffile.TiffFileError) as error:
        raise ImageError("unsupported", str(error)) from error
    if tiff.page.planarconfig == 2 and tiff.bands > 1:
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(tiff.height, tiff.width, tiff.bands)
    if tiff.page.photometric == 0:
        values = values.max() - values
    alpha = None
    extras = tuple(tiff.page.extrasamples)
    if extras and extras[0] in _ALPHA and tiff.bands <= MOST_COLOURS:
        alpha = _share(values[..., tiff.bands - len(extras)])
    return (values[..., shown[0]] if len(shown) == 1 else values[..., shown]), alpha


def _shown(tiff: DeepTiff, bands: tuple[int, int, int] | None) -> list[int]:
    if tiff.bands < 3:
        return [0]
    if tiff.bands <= MOST_COLOURS or (tiff.page.photometric == 2 and bands is None):
        return [0, 1, 2]
    if bands is None:
        raise ImageError(
            "unsupported", f"{tiff.bands} bands; choose the three that are red, green and blue by `bands = [3, 2, 1]`"
        )
    if max(bands) > tiff.bands:
        raise ImageError("unsupported", f"{tiff.bands} bands, of which {', '.join(map(str, bands))} were chosen")
    return [one - 1 for one in bands]


def _share(alpha: Numbers) -> npt.NDArray[np.float32]:
    most = float(np.iinfo(alpha.dtype.type).max) if alpha.dtype.kind in "iu" else 1.0  # type: ignore[type-var]
    share: npt.NDArray[np.float32] = np.clip(np.nan_to_num(alpha.astype(np.float32)) / np.float32(most), 0, 1)
    return share
