import numpy as np
import pytest
from PIL import Image

from segray.errors import ImageError
from segray.images.inputs import pixels_of

COLOURS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("kind", ["path", "text", "picture", "array", "columns reversed twice"])
def test_every_kind_of_image_gives_the_same_pixels(kind, path):
    given = {
        "path": path,
        "text": str(path),
        "picture": Image.open(path),
        "array": COLOURS,
        "columns reversed twice": COLOURS[:, ::-1].copy()[:, ::-1],
    }[kind]
    pixels = pixels_of(given)
    assert (pixels == COLOURS).all()
    assert pixels.flags.c_contiguous


def test_grey_becomes_colour_and_pictures_are_turned_upright():
    grey = COLOURS[..., 0]
    assert (pixels_of(grey) == grey[..., None]).all()
    turned = Image.fromarray(COLOURS)
    turned.getexif()[0x0112] = 6
    assert (pixels_of(turned) == np.rot90(COLOURS, -1)).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "got int"),
        (COLOURS.astype(float), "float64"),
        (COLOURS[None], r"\(1, 4, 6, 3\)"),
        (np.zeros((4, 6, 4), np.uint8), r"\(4, 6, 4\)"),
    ],
)
def test_what_is_no_image_is_a_type_error(given, message):
    with pytest.raises(TypeError, match=message):
        pixels_of(given)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(ImageError, match="not-an-image"):
        pixels_of(tmp_path / "a.png")
