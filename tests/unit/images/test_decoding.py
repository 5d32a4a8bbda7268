"""Images: every kind of file becomes the same kind of array, every bad one an error with its reason."""

import contextlib
import hashlib
import io
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from segray.errors import ImageError
from segray.images import decoding

MANY = 10_000_000
SCENE = np.stack(np.meshgrid(np.arange(40) * 6, np.arange(24) * 10, indexing="xy"), axis=-1)
SCENE = np.concatenate([SCENE, np.full((24, 40, 1), 90)], axis=-1).astype(np.uint8)
RAMP = np.linspace(0, 1, 24 * 40).reshape(24, 40)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(SCENE).convert(mode)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, extra: bytes = b"", late: bytes = b"") -> bytes:
    """An RGB PNG by hand, black; only its header is to be believed."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(min((3 * width + 1) * height, 100_000))))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + late + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


PNG, JPEG = saved(scene()), saved(scene(), "JPEG")
EXACT = {
    "png": saved(scene()),
    "bmp": saved(scene(), "BMP"),
    "ppm": saved(scene(), "PPM"),
    "tiff": saved(scene(), "TIFF"),
    "tiff, packed": saved(scene(), "TIFF", compression="tiff_lzw"),
    "webp, lossless": saved(scene(), "WEBP", lossless=True),
    "jpeg 2000": saved(scene(), "JPEG2000"),
    "opaque alpha": saved(scene("RGBA")),
    "pages": saved(scene(), "TIFF", save_all=True, append_images=[Image.new("RGB", (40, 24))]),
    "animated png": saved(scene(), save_all=True, append_images=[Image.new("RGB", (40, 24))]),
}


@pytest.mark.parametrize("name", EXACT)
def test_lossless_kinds_are_exact(name: str) -> None:
    pixels = decoding.decode(EXACT[name], MANY)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, SCENE)
    assert decoding.probe(EXACT[name]) == (24, 40)


GREY = np.asarray(scene("L"))
CLOSE = {
    "jpeg": (saved(scene(), "JPEG", quality=98, subsampling=0), SCENE),
    "jpeg, cmyk": (saved(scene("CMYK"), "JPEG", quality=98, subsampling=0), SCENE),
    "tiff, cmyk": (saved(scene("CMYK"), "TIFF"), SCENE),
    "tiff, ycbcr": (saved(scene("YCbCr"), "TIFF"), SCENE),
    "avif": (saved(scene(), "AVIF", quality=98), SCENE),
    "palette": (saved(scene().quantize(256)), SCENE),
    "gif": (saved(scene().quantize(256), "GIF"), SCENE),
    "gif, animated": (saved(scene(), "GIF", save_all=True, append_images=[Image.new("RGB", (40, 24))]), SCENE),
    "grey": (saved(scene("L")), np.repeat(GREY[..., None], 3, axis=2)),
    "grey jpeg": (saved(scene("L"), "JPEG", quality=98), np.repeat(GREY[..., None], 3, axis=2)),
}


@pytest.mark.parametrize("name", CLOSE)
def test_other_kinds_are_close(name: str) -> None:
    data, expected = CLOSE[name]
    difference = np.abs(decoding.decode(data, MANY).astype(int) - expected)
    assert difference.mean() < 8
    assert decoding.probe(data) == (24, 40)


def test_lab_is_turned_into_colours() -> None:
    grey = Image.merge("LAB", [Image.new("L", (4, 3), value) for value in (255, 128, 128)])
    assert decoding.decode(saved(grey, "TIFF"), MANY).min() >= 250


def test_one_bit() -> None:
    pixels = decoding.decode(saved(Image.fromarray(np.eye(5, dtype=bool))), MANY)
    assert np.array_equal(pixels, np.repeat(np.eye(5, dtype=np.uint8)[..., None] * 255, 3, axis=2))


def palette_with_clear_entry() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 255, 10, 20, 30])
    image.putdata([0, 1])
    return image


CLEAR = {
    "rgba": (saved(Image.fromarray(np.uint8([[[9, 9, 9, 0], [10, 20, 30, 255]]]))), [[255] * 3, [10, 20, 30]]),
    "half": (saved(Image.fromarray(np.uint8([[[0, 0, 0, 128], [10, 20, 30, 255]]]))), [[127] * 3, [10, 20, 30]]),
    "grey alpha": (saved(Image.merge("LA", [Image.new("L", (2, 1), 7), Image.new("L", (2, 1), 0)])), [[255] * 3] * 2),
    "palette": (saved(palette_with_clear_entry(), transparency=0), [[255] * 3, [10, 20, 30]]),
    "gif": (saved(palette_with_clear_entry(), "GIF", transparency=0), [[255] * 3, [10, 20, 30]]),
    "key colour": (
        saved(Image.fromarray(np.uint8([[[1, 2, 3], [10, 20, 30]]])), transparency=(1, 2, 3)),
        [[255] * 3, [10, 20, 30]],
    ),
    "key grey": (saved(Image.fromarray(np.uint8([[5, 6]])), transparency=5), [[255] * 3, [6] * 3]),
}


@pytest.mark.parametrize("name", CLEAR)
def test_transparency_lies_over_white(name: str) -> None:
    data, expected = CLEAR[name]
    assert decoding.decode(data, MANY)[0].tolist() == expected


DEEP_SCENE = SCENE.astype(np.float64) * 16 + 700
"""Of three channels and 12 bits."""


def tiff(values: np.ndarray, photometric: str = "rgb", **options: Any) -> bytes:
    """A TIFF of bands of any type, as microscopes and satellites write them."""
    buffer = io.BytesIO()
    photometric = photometric if values.shape[2] < 10 else "minisblack"
    tifffile.imwrite(buffer, values, photometric=photometric, **{"planarconfig": "contig"} | options)
    return buffer.getvalue()


def patched(data: bytes, **numbers: int) -> bytes:
    """A TIFF whose header says other numbers."""
    changed, tags = bytearray(data), tifffile.TiffFile(io.BytesIO(data)).pages[0].tags
    for name, number in numbers.items():
        at = tags[name].valueoffset
        changed[at : at + 4] = struct.pack("<I", number)
    return bytes(changed)


HEIC = saved(scene(), "HEIF", quality=-1)
SEPARATE = {"planarconfig": "separate"}
STRETCHED = {
    "12 bits of 16": tiff(np.uint16(DEEP_SCENE)),
    "16 bits, lzw": tiff(np.uint16(DEEP_SCENE), compression="lzw", predictor=True),
    "16 bits, zip, tiles": tiff(np.uint16(np.pad(DEEP_SCENE, ((0, 40), (0, 24), (0, 0)), "wrap")), tile=(16, 16)),
    "16 bits, big-endian": tiff(DEEP_SCENE.astype(">u2"), byteorder=">"),
    "16 bits, with sign": tiff(np.int16(DEEP_SCENE)),
    "32 bits": tiff(np.uint32(DEEP_SCENE)),
    "float": tiff(np.float32(DEEP_SCENE / 4095)),
    "float, packed": tiff(np.float32(DEEP_SCENE / 4095), compression="zlib", predictor=True),
    "double": tiff(DEEP_SCENE / 4095),
    "band by band": tiff(np.uint16(DEEP_SCENE.transpose(2, 0, 1)), **SEPARATE),
    "with a fourth band": tiff(np.uint16(np.concatenate([DEEP_SCENE, DEEP_SCENE[..., :1]], axis=2)), extrasamples=[0]),
    "not said to be rgb": tiff(np.uint16(DEEP_SCENE), "minisblack"),
    "six bands that begin with rgb": tiff(np.uint16(np.concatenate([DEEP_SCENE, DEEP_SCENE[..., ::-1]], axis=2))),
}


@pytest.mark.parametrize("name", STRETCHED)
def test_deep_colours_are_stretched_together(name: str) -> None:
    pixels = decoding.decode(STRETCHED[name], MANY)[:24, :40].astype(int)
    low, high = np.percentile(SCENE, [0.1, 99.9])
    expected = np.clip((SCENE - low) * 255 / (high - low), 0, 255)
    assert np.abs(pixels - expected).max() <= 2
    assert decoding.probe(STRETCHED[name])[0] in (24, 64)


def test_alpha_of_a_deep_tiff_lies_over_white() -> None:
    values = np.concatenate([DEEP_SCENE, np.zeros((24, 40, 1))], axis=2)
    values[:, :20, 3] = 65535
    pixels = decoding.decode(tiff(np.uint16(values), extrasamples=["unassalpha"]), MANY)
    assert (pixels[:, 20:] == 255).all()
    assert pixels[:, :20].min() == 0


def test_three_of_many_bands_are_chosen() -> None:
    bands = np.random.default_rng(0).integers(0, 4000, (24, 40, 13)).astype(np.uint16)
    bands[..., [3, 2, 1]] = DEEP_SCENE
    chosen = decoding.decode(tiff(bands), MANY, (4, 3, 2))
    assert np.array_equal(chosen, decoding.decode(STRETCHED["12 bits of 16"], MANY))
    assert np.array_equal(decoding.decode(PNG, MANY, (4, 3, 2)), SCENE)
    with pytest.raises(ImageError, match="13 bands, of which 4, 3, 14 were chosen"):
        decoding.decode(tiff(bands), MANY, (4, 3, 14))
    with pytest.raises(ImageError, match="13 bands; choose the three that are red, green and blue"):
        decoding.decode(tiff(bands), MANY)


def test_a_packed_bomb_inside_a_deep_tiff_stays_small() -> None:
    whole = tiff(np.uint16(DEEP_SCENE), compression="zlib", rowsperstrip=24)
    bomb = zlib.compress(bytes(300_000_000), 9)
    data = patched(whole + bomb, StripOffsets=len(whole), StripByteCounts=len(bomb))
    tracemalloc.start()
    with contextlib.suppress(ImageError):
        decoding.decode(data, MANY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_heic_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.abs(decoding.decode(HEIC, MANY).astype(int) - SCENE).mean() < 8
    monkeypatch.setattr(decoding, "_READS_HEIF", False)
    with pytest.raises(ImageError, match="unsupported: a HEIC image, which is read where pillow-heif is"):
        decoding.decode(HEIC, MANY)


DEEP = {
    "16-bit png": (np.uint16(RAMP * 65535), "PNG"),
    "12 bits of 16": (np.uint16(RAMP * 4095), "PNG"),
    "16-bit tiff": (np.uint16(RAMP * 4095 + 700), "TIFF"),
    "16-bit tiff, big-endian": (np.uint16(RAMP * 4095).astype(">u2"), "TIFF"),
    "32-bit tiff": (np.int32(RAMP * 2_000_000 - 1_000_000), "TIFF"),
    "float tiff": (np.float32(RAMP * 0.01), "TIFF"),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_channels_are_stretched(name: str) -> None:
    values, kind = DEEP[name]
    pixels = decoding.decode(saved(Image.fromarray(values), kind), MANY)
    expected = np.repeat(np.clip((RAMP * 255)[..., None], 0, 255), 3, axis=2)
    assert np.abs(pixels - expected).max() <= 2
    assert pixels.min() == 0
    assert pixels.max() == 255


def test_one_hot_pixel_does_not_darken_the_rest() -> None:
    values = np.uint16(RAMP.repeat(2, axis=0).repeat(2, axis=1) * 600)
    values[3, 3] = 65535
    assert decoding.decode(saved(Image.fromarray(values)), MANY).mean() > 100


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.full((3, 4), 7, np.uint16), 0),
        (np.full((3, 4), np.nan, np.float32), 0),
        (np.float32([[np.nan, -1, np.inf, 1]]), None),
        (np.float32([[-3e38, 3e38]]), None),
    ],
)
def test_degenerate_deep_images_still_decode(values: np.ndarray, expected: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        pixels = decoding.decode(saved(Image.fromarray(values), "TIFF"), MANY)
    assert pixels.shape == (*values.shape, 3)
    assert expected is None or (pixels == expected).all()


def test_a_few_bright_dots_on_flat_ground_are_seen() -> None:
    values = np.full((200, 200), 50, np.uint16)
    values[7, 9] = 60
    pixels = decoding.decode(saved(Image.fromarray(values)), MANY)
    assert pixels[7, 9, 0] == 255
    assert pixels.sum() == 3 * 255


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation(kind: str, orientation: int) -> None:
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = saved(scene(), kind, exif=exif(orientation), **options)
    pixels = decoding.decode(data, MANY)
    expected = TURNS[orientation](decoding.decode(saved(scene(), kind, **options), MANY))
    assert np.array_equal(pixels, expected)
    assert decoding.probe(data) == pixels.shape[:2]


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_an_orientation_that_is_none_is_upright(orientation: int) -> None:
    assert decoding.decode(saved(scene(), exif=exif(orientation)), MANY).shape == SCENE.shape


def test_png_orientation_behind_the_pixels_counts() -> None:
    data = png(5, 3, late=chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0")))
    assert decoding.decode(data, MANY).shape == (5, 3, 3)
    assert decoding.probe(data) == (5, 3)


@pytest.mark.parametrize("body", [b"", b"junk", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 60])
def test_damaged_exif_leaves_the_picture(body: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decoding.decode(png(5, 3, chunk(b"eXIf", body)), MANY).shape == (3, 5, 3)
        assert np.array_equal(
            decoding.decode(saved(scene(), "JPEG", exif=b"Exif\0\0" + body), MANY),
            decoding.decode(saved(scene(), "JPEG"), MANY),
        )


BAD = {
    "empty": (b"", "empty"),
    "text": (b"this is no image, and long enough to be looked at", "not-an-image"),
    "one byte": (b"\xff", "not-an-image"),
    "html": (b"<!doctype html><html>404</html>", "not-an-image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "unsupported"),
    "icon": (saved(scene(), "ICO"), "unsupported"),
    "png, cut": (PNG[: len(PNG) // 2], "damaged"),
    "png, only a header": (PNG[:20], "damaged"),
    "png, changed": (PNG[:50] + bytes(30) + PNG[80:], "damaged"),
    "jpeg, cut": (JPEG[: len(JPEG) * 2 // 3], "damaged"),
    "jpeg, only a beginning": (JPEG[:4], "damaged"),
    "tiff, cut": (saved(scene(), "TIFF")[:900], "damaged"),
    "webp, cut": (saved(scene(), "WEBP")[:60], "damaged"),
    "avif, cut": (saved(scene(), "AVIF")[:-40], "damaged"),
    "gif, cut": (saved(scene().quantize(256), "GIF")[:-60], "damaged"),
    "bmp, cut": (saved(scene(), "BMP")[:-60], "damaged"),
    "png, no width": (png(0, 5), "zero-sized"),
    "png, no height": (png(5, 0), "zero-sized"),
    "gif, no width": (b"GIF89a" + bytes(30), "zero-sized"),
    "bmp, no height": (b"BM" + bytes(12) + struct.pack("<Iii", 40, 5, 0) + bytes(40), "zero-sized"),
    "a photoshop document": (b"8BPS\0\1" + bytes(40), "unsupported"),
    "a drawing": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported"),
    "a video": (b"\0\0\0\x20ftypisom" + bytes(40), "unsupported"),
    "a tiff of 13 bands": (tiff(np.zeros((24, 40, 13), np.uint16)), "unsupported"),
    "a deep tiff, cut": (tiff(np.uint16(DEEP_SCENE))[:-900], "damaged"),
    "a deep tiff, packed and cut": (tiff(np.uint16(DEEP_SCENE), compression="zlib")[:-100], "damaged"),
    "a deep tiff of few pixels and many bytes": (
        patched(tiff(np.zeros((24, 40, 13), np.float64)), ImageWidth=MANY, ImageLength=1),
        "too-large",
    ),
    "heic, cut": (HEIC[:-40], "damaged"),
    "too many pixels": (png(4000, 4000), "too-large"),
    "a bomb by Pillow's measure": (png(60_000, 60_000), "too-large"),
    "a tiff of huge size": (
        b"II*\0\x08\0\0\0\x08\0"
        + b"".join(
            struct.pack("<HHII", tag, 4, 1, value)
            for tag, value in [
                (256, 2**31),
                (257, 2**31),
                (258, 8),
                (259, 1),
                (262, 1),
                (273, 8),
                (278, 2**31),
                (279, 9),
            ]
        )
        + bytes(20),
        "too-large",
    ),
    "a jpeg of many scans": (JPEG[:-2] + JPEG[JPEG.rindex(b"\xff\xda") : -2] * 300 + JPEG[-2:], "too-large"),
    "a png of many chunks": (png(3, 3, chunk(b"teSt", b"") * 60_000), "too-large"),
    "profile bomb": (png(3, 3, chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(80_000_000)))), "damaged"),
    "text bomb": (png(3, 3, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(80_000_000)))), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_say_why(name: str) -> None:
    data, reason = BAD[name]
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with pytest.raises(ImageError) as caught:
            decoding.decode(data, MANY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason == reason
    assert caught.value.reason in decoding.REASONS
    assert caught.value.detail
    assert peak < 20_000_000


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_cut_of_a_file_is_an_image_error_or_an_image() -> None:
    kinds = [
        PNG,
        JPEG,
        saved(scene(), "TIFF", compression="tiff_lzw"),
        saved(scene(), "WEBP"),
        saved(scene(), "JPEG2000"),
        STRETCHED["16 bits, lzw"],
        STRETCHED["band by band"],
    ]
    reasons = set()
    for data in kinds:
        for end in range(0, len(data), 7):
            try:
                assert decoding.decode(data[:end], MANY).shape == SCENE.shape
            except ImageError as error:
                reasons.add(error.reason)
    assert reasons == {"empty", "not-an-image", "damaged"}


CHANGED = (
    *(PNG, JPEG, saved(scene().quantize(256), "GIF"), saved(scene(), "TIFF"), saved(scene(), "WEBP"), HEIC),
    *(STRETCHED["16 bits, lzw"], STRETCHED["band by band"]),
)


def test_every_changed_byte_is_an_image_error_or_an_image() -> None:
    random, reasons = np.random.default_rng(0), set()
    for data in CHANGED:
        for _ in range(60):
            changed = bytearray(data)
            for position in random.integers(8, len(data), 3):
                changed[position] = int(random.integers(256))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert decoding.decode(bytes(changed), MANY).shape[2] == 3
                except ImageError as error:
                    reasons.add(error.reason)
    assert "damaged" in reasons
    assert reasons <= set(decoding.REASONS)


def test_more_pixels_than_pillow_likes_are_fine_if_allowed() -> None:
    data = saved(Image.new("1", (20_000, 9_500)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoding.probe(data) == (9_500, 20_000)
        with pytest.raises(ImageError, match="too-large"):
            decoding.decode(data, 100_000_000)
        assert decoding._open(data).size == (20_000, 9_500)


def test_the_bound_is_inclusive() -> None:
    assert decoding.decode(PNG, 24 * 40).shape == (24, 40, 3)
    with pytest.raises(ImageError, match="40 x 24 pixels, 959 are allowed"):
        decoding.decode(PNG, 24 * 40 - 1)


def test_load_gives_pixels_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    pixels, sha256 = decoding.load(str(path), MANY)
    assert np.array_equal(pixels, SCENE)
    assert sha256 == hashlib.sha256(PNG).hexdigest()


def test_load_refuses_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        decoding.load(str(tmp_path / "absent.png"), MANY)
    assert caught.value.reason == "unreadable"
    assert "absent.png" in caught.value.detail
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(80 << 20)
    with pytest.raises(ImageError) as caught:
        decoding.load(str(tmp_path / "huge.png"), 1000)
    assert caught.value.reason == "too-large"


def test_threads_decode_side_by_side() -> None:
    data = [saved(scene(), "JPEG", exif=exif(6)), *EXACT.values(), *(data for data, _ in CLOSE.values())]
    alone = [decoding.decode(one, MANY) for one in data]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda one: decoding.decode(one, MANY), data * 4))
    assert all(np.array_equal(first, second) for first, second in zip(alone * 4, together, strict=True))
