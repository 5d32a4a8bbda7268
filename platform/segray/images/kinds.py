"""Kinds of image files: by what names they go, by what bytes they begin, and which of them are read.

Knows names and first bytes; decodes nothing.
"""

from typing import Final

SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif", ".gif", ".bmp"),
    *(".dib", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Names that image files go by, in lower case. Whether a HEIC is read depends on a library; its name counts anyway."""

FOREIGN_SUFFIXES: Final = (
    *(".jxl", ".jxr", ".tga", ".pcx", ".dds", ".psd", ".psb", ".xcf", ".exr", ".hdr", ".ico", ".svg"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
    *(".dcm", ".nii", ".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".nd2", ".lif", ".vsi"),
)
"""Suffixes of photographs, scans, slides and drawings that are not read."""

_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_READ: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_2000: Final = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_FOREIGN: Final = {
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript program",
    b"8BPS": "a Photoshop document",
    b"gimp xcf": "a GIMP document",
    b"\x76\x2f\x31\x01": "an OpenEXR image",
    b"#?RADIANCE": "a Radiance HDR image",
    b"SIMPLE  =": "a FITS image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\1\0": "an icon",
    b"DDS ": "a DirectDraw texture",
    b"<svg": "an SVG drawing",
    b"\x1a\x45\xdf\xa3": "a Matroska or WebM video",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a ZIP archive",
}
_BRANDS: Final = {
    b"crx ": "a Canon raw image",
    b"qt  ": "a QuickTime video",
    b"isom": "an MP4 video",
    b"mp41": "an MP4 video",
    b"mp42": "an MP4 video",
}


def begins_as_read(data: bytes) -> bool:
    """Return whether bytes begin like an image of a kind that is read, so that what fails inside is damage."""
    return data.startswith((*_READ, *_JPEG_2000)) or data[8:12] == b"WEBP" or data[4:12] == b"ftypavif" or is_heif(data)


def is_heif(data: bytes) -> bool:
    """Return whether bytes begin like a HEIC or HEIF image, of a telephone for example."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[16:32]


def foreign_kind(data: bytes) -> str | None:
    """Return what a file is that is known and not read, such as "a PDF document"; None where nothing is known."""
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    if data[128:132] == b"DICM":
        return "a DICOM image"
    beginning = data[:512].lstrip()
    if beginning.startswith(b"<?xml") and b"<svg" in beginning:
        return "an SVG drawing"
    return next((name for first, name in _FOREIGN.items() if beginning.startswith(first)), None)
