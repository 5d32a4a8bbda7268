"""Image files to pixels: every kind of file, one kind of array, and why a file gave none.

Pixels are (H, W, 3) uint8 RGB, upright as EXIF says. What the kinds of files become:

- palette, grey, 1-bit: their colours; transparency of any kind (alpha, palette entry, key colour) lies over white;
- one channel of more than 8 bits (16-bit, 32-bit, float), and all channels of such a TIFF together: no white point is
  agreed on, so the image's own 0.1st to 99.9th percentile is stretched to 0..255 (its minimum to maximum where those
  are equal); NaN is black;
- a PNG of 16 bits in several channels: the high bytes, since there white is agreed on;
- more than four bands: the first three of a TIFF that says that they are RGB, else the three that somebody chose;
- CMYK, YCbCr, Lab: RGB by Pillow's conversion, without colour profiles;
- animations and pages: the first.

JPEG is decoded in full, never by its draft mode. Knows nothing of rows or models. All functions may run in threads.
Pillow's process-wide guard against bombs is switched off here: `max_pixels`, checked before any decoding, replaces it.
"""

import hashlib
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from segray.errors import ImageError, SourceError
from segray.images import deep_tiff, kinds
from segray.storage import files

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB, save where another shape is given."""

Bands = tuple[int, int, int]
"""Three bands, counted from 1, that are red, green and blue of images of more than four."""

REASONS = ("unreadable", "empty", "not-an-image", "unsupported", "damaged", "zero-sized", "too-large")
"""Why an image was refused: its URI cannot be read, 0 bytes, no known kind of image, a kind or a way of packing that is
known and not read, cut short or damaged inside, no pixels, more pixels (or bytes, scans, chunks) than allowed."""

MOST_PIXELS = 1 << 28
"""Beyond this, training and evaluation open no image."""

MOST_SCANS = 200
"""Largest number of scans of a JPEG. A progressive one usually has ten; each costs as much as a baseline image."""
MOST_CHUNKS = 50_000
"""Largest number of chunks of a PNG: enough for 400 MB in chunks of 8 kB."""

# Those of Pillow's readers that read photographs and no more: others run programs or unpack images inside images.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "DIB", "JPEG2000", "PPM")
_WITHOUT_HEIF = tuple(one for one in _FORMATS if one != "HEIF")
_BYTES_PER_PIXEL = 16
_SPARE_BYTES = 64 << 20
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)
_SAMPLE = 1 << 20

Image.MAX_IMAGE_PIXELS = None

try:
    import pillow_heif
except ImportError:
    _READS_HEIF = False
else:
    pillow_heif.register_heif_opener(thumbnails=False)
    _READS_HEIF = True


def load(uri: str, max_pixels: int, bands: Bands | None = None) -> tuple[Pixels, str]:
    """Return pixels, and the SHA-256 (hex) of the file's bytes.

    Args:
        uri: where the file is.
        max_pixels: largest image, in pixels (width times height).
        bands: see `Bands`.

    Raises:
        ImageError: any of `REASONS`; its detail begins with the URI.
    """
    limit = max_pixels * _BYTES_PER_PIXEL + _SPARE_BYTES
    try:
        data = files.read_bytes(uri, limit + 1)
    except SourceError as error:
        raise ImageError("unreadable", str(error)) from error
    if len(data) > limit:
        raise ImageError("too-large", f"{uri}: a file of over {limit} bytes, {max_pixels} pixels are allowed")
    try:
        return decode(data, max_pixels, bands), hashlib.sha256(data).hexdigest()
    except ImageError as error:
        raise ImageError(error.reason, f"{uri}: {error.detail}") from error


def decode(data: bytes, max_pixels: int, bands: Bands | None = None) -> Pixels:
    """Pixels of an image file's bytes.

    Raises:
        ImageError: any of `REASONS` but "unreadable".
    """
    image = _deep_tiff(data) or _open(data)
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError("too-large", f"{width} x {height} pixels, {max_pixels} are allowed")
    rgb = _deep_rgb(image, max_pixels, bands) if isinstance(image, deep_tiff.DeepTiff) else _rgb(image)
    orientation = _orientation(image, data)
    return np.array(rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb)


def probe(data: bytes) -> tuple[int, int]:
    """Height and width that `decode` would give, from the header: nothing is decoded, whatever its size.

    Raises:
        ImageError: "empty", "not-an-image", "unsupported", "damaged" or "zero-sized".
    """
    image = _deep_tiff(data) or _open(data)
    width, height = image.size
    return (width, height) if _orientation(image, data) in _TURNED else (height, width)


def decode_indices(data: bytes) -> Pixels:
    """A class map's palette indices or grey values (H, W) uint8, never its colours, never turned.

    Raises:
        ImageError: any of `REASONS` but "unreadable" and "too-large"; "not-an-image" too where pixels are no indices.
    """
    image = _open(data)
    if image.mode not in ("P", "L", "1"):
        raise ImageError("not-an-image", f"a class map holds one index of 8 bits a pixel, this image is {image.mode}")
    with _pillow("damaged"):
        image.load()
    return np.array(image, dtype=np.uint8)


def decode_numbers(data: bytes) -> npt.NDArray[np.int32]:
    """The numbers of an image of one channel of 8 or 16 bits (H, W), such as those of objects, never turned.

    Raises:
        ImageError: as of `decode_indices`.
    """
    image = _open(data)
    if image.mode not in ("P", "L", "I") and not image.mode.startswith("I;16"):
        raise ImageError("not-an-image", f"numbers lie in one channel of whole numbers, this image is {image.mode}")
    with _pillow("damaged"):
        image.load()
    return np.array(image, dtype=np.int32)


def _open(data: bytes) -> Image.Image:
    """The header, parsed; nothing decoded."""
    if not data:
        raise ImageError("empty", "0 bytes")
    if _declared_size(data) == 0:
        raise ImageError("zero-sized", "the header says that there are no pixels")
    _refuse_many_parts(data)
    if (kind := kinds.foreign_kind(data)) is not None:
        raise ImageError("unsupported", f"{kind}, which is not read")
    if kinds.is_heif(data) and not _READS_HEIF:
        raise ImageError("unsupported", "a HEIC image, which is read where pillow-heif is: pip install 'segray[heif]'")
    with _pillow("damaged" if kinds.begins_as_read(data) else "not-an-image"):
        return Image.open(io.BytesIO(data), formats=_FORMATS if _READS_HEIF else _WITHOUT_HEIF)


def _deep_tiff(data: bytes) -> deep_tiff.DeepTiff | None:
    """Return what `deep_tiff` reads; a header that it does not understand is left to Pillow, which says why."""
    try:
        return deep_tiff.parse(data)
    except MemoryError:
        raise
    except Exception:  # on hostile bytes it raises nearly anything
        return None


def _deep_rgb(tiff: deep_tiff.DeepTiff, max_pixels: int, bands: Bands | None) -> Image.Image:
    """Return its colours, stretched, over white."""
    limit = max_pixels * _BYTES_PER_PIXEL + _SPARE_BYTES
    if tiff.num_bytes > limit:
        raise ImageError("too-large", f"{tiff.num_bytes} bytes once unpacked, {limit} are allowed")
    with _pillow("damaged"):
        values, alpha = deep_tiff.read(tiff, bands)
    rgb = Image.fromarray(_stretch(values)).convert("RGB")
    if alpha is None:
        return rgb
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=Image.fromarray(np.rint(alpha * 255).astype(np.uint8)))
    return white


def _refuse_many_parts(data: bytes) -> None:
    """Refuse files of few bytes that cost hours: a JPEG whose every scan is decoded, a PNG of countless chunks.

    Raises:
        ImageError: "too-large".
    """
    if data.startswith(b"\xff\xd8"):
        # A marker cannot lie inside a scan's own bytes; what counts too many are thumbnails, with one scan each.
        if (scans := data.count(b"\xff\xda")) > MOST_SCANS:
            raise ImageError("too-large", f"{scans} scans, {MOST_SCANS} are allowed")
    elif data.startswith(b"\x89PNG") and sum(1 for _ in _chunks(data)) > MOST_CHUNKS:
        raise ImageError("too-large", f"more than {MOST_CHUNKS} chunks")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and length of a PNG's chunks up to its end, one more than are allowed at most."""
    at, number, kind = 8, 0, b""
    while at + 8 <= len(data) and number <= MOST_CHUNKS and kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, at + 8, length
        at += 12 + length
        number += 1


@contextmanager
def _pillow(reason: str) -> Iterator[None]:
    """Around Pillow's parsers only: on hostile bytes they raise nearly anything, and all of it means a bad file."""
    try:
        yield
    except (MemoryError, ImageError):
        raise
    except UnidentifiedImageError as error:
        detail = "no known kind of image" if reason == "not-an-image" else "its header is damaged or of an unknown kind"
        raise ImageError(reason, detail) from error
    except Exception as error:
        raise ImageError("damaged", f"{type(error).__name__}: {error}") from error


def _declared_size(data: bytes) -> int | None:
    """Pixels by the header of a PNG, GIF or BMP, whose empty images Pillow only calls unknown; else None."""
    header = data[:26].ljust(26, b"\0")
    if len(data) < 26:
        return None
    if header.startswith(b"\x89PNG"):
        width, height = struct.unpack(">II", header[16:24])
    elif header.startswith(b"GIF8"):
        width, height = struct.unpack("<HH", header[6:10])
    elif header.startswith(b"BM"):
        width, height = struct.unpack("<ii", header[18:26])
    else:
        return None
    return int(abs(width * height))


def _orientation(image: Image.Image | deep_tiff.DeepTiff, data: bytes) -> int:
    """EXIF's, 1 (upright) where there is none, or none that can be read: a damaged tag does not make a bad picture."""
    if isinstance(image, deep_tiff.DeepTiff):
        return image.orientation
    if image.format == "TIFF":  # Pillow turns these itself.
        return 1
    try:
        found = (_png_exif(data) if image.format == "PNG" else image.getexif()).get(_ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:  # as for `_pillow`
        return 1
    return found if isinstance(found, int) else 1


def _png_exif(data: bytes) -> Image.Exif:
    """A PNG's EXIF chunk wherever it stands; Pillow decodes the whole picture to find one behind the pixels."""
    exif = Image.Exif()
    for kind, start, length in _chunks(data):
        if kind == b"eXIf":
            exif.load(data[start : start + length])
            break
    return exif


def _rgb(image: Image.Image) -> Image.Image:
    """Decode an image of any of Pillow's modes to RGB."""
    with _pillow("damaged"):
        image.load()
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_stretch(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert turned is not None  # None is only for work in place.
        return turned
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        clear = image.convert("RGBA")
        white = Image.new("RGB", clear.size, "white")
        white.paste(clear, mask=clear.getchannel("A"))
        return white
    return image.convert("RGB")


def _stretch(values: npt.NDArray[np.generic]) -> Pixels:
    """Numbers of any type and shape to 0..255 by their own percentiles, those of about a million of them."""
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, [0.1, 99.9]) if sample.size else (0.0, 0.0)
    if low == high:
        finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        out = np.clip((values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low)), 0, 255)
    out[np.isnan(out)] = 0
    return np.asarray(np.rint(out), dtype=np.uint8)
