import numpy as np
import pytest
from PIL import Image

from segray.errors import BackendError, DeviceError, ImageError, SourceError, StoreError
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.labels.labeler import Labeler
from segray.masks.instances import Instances
from segray.testing import SleepingGenerator, write_images


class Recorder(SleepingGenerator):
    """Remembers the batches it saw; holds at most `room` images, and none of more than `largest` pixels."""

    def __init__(self, room=100, largest=10**9):
        super().__init__(0.0)
        object.__setattr__(self, "batches", [])
        object.__setattr__(self, "room", room)
        object.__setattr__(self, "largest", largest)

    def generate(self, images):
        self.batches.append(len(images))
        if len(images) > self.room or any(image[..., 0].size > self.largest for image in images):
            raise MemoryError("not that many")
        return super().generate(images)


def label(folder, generator, images_per_batch=4, max_pixels=10_000, **options):
    rows = list(open_source(FolderSource(uri=str(folder))).rows())
    labeler = Labeler(generator, max_pixels=max_pixels, images_per_batch=images_per_batch, decode_threads=2, **options)
    return rows, list(labeler(rows))


@pytest.mark.parametrize(("number", "batches"), [(0, []), (1, [1]), (4, [4]), (10, [4, 4, 2])])
def test_every_image_becomes_a_row(tmp_path, number, batches):
    write_images(tmp_path, number)
    generator = Recorder()
    rows, found = label(tmp_path, generator)
    assert [row.image for row in found] == rows
    assert generator.batches == batches
    assert all(len(row.instances) == 1 and len(row.sha256) == 64 for row in found)


def test_masks_are_those_of_the_images_own_pixels(tmp_path):
    write_images(tmp_path, 6)
    _, found = label(tmp_path, Recorder())
    for row in found:
        pixels = np.asarray(Image.open(row.image.uri))
        expected = SleepingGenerator(0.0).generate([pixels])[0]
        assert np.array_equal(row.instances.to_masks(), expected.to_masks())


def test_refused_images_are_rows_with_reasons(tmp_path):
    write_images(tmp_path, 3)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "note.jpg").write_bytes(b"not an image at all")
    Image.new("RGB", (200, 100)).save(tmp_path / "wide.png")
    generator = Recorder()
    _, found = label(tmp_path, generator)
    reasons = {row.image.image_id: row.error for row in found if row.error}
    assert reasons == {"empty.png": "empty", "note.jpg": "not-an-image", "wide.png": "too-large"}
    assert all(row.detail for row in found if row.error)
    assert sum(generator.batches) == 3


def test_a_batch_of_refused_images_only(tmp_path):
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(b"")
    generator = Recorder()
    _, found = label(tmp_path, generator)
    assert [row.error for row in found] == ["empty"] * 5
    assert generator.batches == []


def test_out_of_memory_goes_on_one_by_one(tmp_path):
    write_images(tmp_path, 5)
    generator = Recorder(room=1)
    _, found = label(tmp_path, generator)
    assert all(isinstance(row.instances, Instances) for row in found)
    assert generator.batches == [4, 1, 1, 1, 1, 1]


def test_an_image_that_never_fits_is_refused_alone(tmp_path):
    write_images(tmp_path, 3)
    Image.new("RGB", (80, 80)).save(tmp_path / "wide.png")
    _, found = label(tmp_path, Recorder(largest=64 * 64))
    assert {row.image.image_id: row.error for row in found if row.error} == {"wide.png": "out-of-memory"}
    assert len(found) == 4


class Raising(Recorder):
    """Raises at images whose first pixel is the omen's."""

    def __init__(self, error, omen):
        super().__init__()
        object.__setattr__(self, "error", error)
        object.__setattr__(self, "omen", omen)

    def generate(self, images):
        found = super().generate(images)
        if any(np.array_equal(image[0, 0], self.omen) for image in images):
            raise self.error
        return found


def omen(folder, name="00001.png"):
    return np.asarray(Image.open(folder / name))[0, 0]


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (RuntimeError("shape '[3]' is invalid\nmore"), "failed", "RuntimeError: shape '[3]' is invalid"),
        (ZeroDivisionError(), "failed", "ZeroDivisionError: ZeroDivisionError"),
        (ImageError("damaged", "no mask"), "damaged", "no mask"),
        (MemoryError("no room"), "out-of-memory", "even alone: no room"),
        (SourceError("annotation 3: not a polygon"), "failed", "SourceError: annotation 3: not a polygon"),
    ],
)
def test_whatever_an_image_raises_becomes_its_row_and_no_other(tmp_path, error, reason, detail):
    write_images(tmp_path, 6)
    generator = Raising(error, omen(tmp_path))
    _, found = label(tmp_path, generator)
    assert {row.image.image_id: (row.error, row.detail) for row in found if row.error} == {
        "00001.png": (reason, detail)
    }
    assert generator.batches == [4, 1, 1, 1, 1, 2]
    assert len(found) == 6


def test_whatever_decoding_raises_becomes_its_row(tmp_path):
    write_images(tmp_path, 3)

    def load(row):
        if row.image_id == "00001.png":
            raise KeyError("orientation")
        return np.zeros((8, 8, 3), np.uint8), "0" * 64

    _, found = label(tmp_path, Recorder(), load=load)
    (refused,) = [row for row in found if row.error]
    assert (refused.error, refused.detail) == ("failed", "while decoding: KeyError: 'orientation'")


def too_few(_images):
    return []


def test_a_model_that_answers_for_other_images_refuses_them(tmp_path):
    write_images(tmp_path, 2)
    generator = Recorder()
    object.__setattr__(generator, "generate", too_few)
    _, found = label(tmp_path, generator)
    assert [row.error for row in found] == ["failed"] * 2


@pytest.mark.parametrize("error", [StoreError("gone"), BackendError("other weights"), DeviceError("broken")])
def test_what_no_image_is_to_blame_for_leaves_the_labeler(tmp_path, error):
    write_images(tmp_path, 2)
    with pytest.raises(type(error)):
        label(tmp_path, Raising(error, omen(tmp_path)))


def test_a_device_found_broken_after_an_error_is_no_images_fault(tmp_path):
    write_images(tmp_path, 2)

    def broken():
        raise DeviceError("uncorrectable memory")

    with pytest.raises(DeviceError):
        label(tmp_path, Raising(RuntimeError("CUDA error"), omen(tmp_path)), check_device=broken)


def test_seconds_add_up_to_the_time_it_took(tmp_path):
    write_images(tmp_path, 4)
    rows = list(open_source(FolderSource(uri=str(tmp_path))).rows())
    labeler = Labeler(SleepingGenerator(0.02), max_pixels=10_000, images_per_batch=2, decode_threads=1)
    assert sum(row.seconds for row in labeler(rows)) >= 4 * 0.02
