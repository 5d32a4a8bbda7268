"""The check before training: what it finds, what it costs, and what is made of it."""

import io
import shutil
import uuid
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from segray.datasets import image_check
from segray.datasets.image_check import checked_rows, flaws_of
from segray.datasets.training_rows import TrainingRows
from segray.errors import DamageError, TrainError
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.storage import files
from segray.testing import write_coco, write_images


def picture(kind: str, side: int = 32, **options) -> bytes:
    """A noisy image, so that its file grows with its side."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


def unlabeled(folder, path, **options):
    options = {"max_damaged": 1, "where": "data.unlabeled", "with_masks": False} | options
    return checked_rows(lambda: open_source(FolderSource(kind="folder", uri=str(folder))), path, **options)


@pytest.fixture
def reads(monkeypatch) -> Counter:
    """Reads by URI."""
    counted, read = Counter(), files.read_bytes

    def count(uri, limit=-1):
        counted[uri] += 1
        return read(uri, limit)

    monkeypatch.setattr(files, "read_bytes", count)
    return counted


@pytest.mark.parametrize("sample", [0, 64])
def test_every_bad_image_is_named_with_its_reason(tmp_path, monkeypatch, sample):
    monkeypatch.setattr(image_check, "SAMPLE", sample)
    source = write_coco(tmp_path, 20)
    rows = TrainingRows.build(open_source(source), tmp_path / "a.arrow")
    assert flaws_of(rows, max_damaged=1, where="") == {}
    folder = Path(source.uri)
    (folder / "00002.png").unlink()
    (folder / "00003.png").write_bytes(b"text")
    shutil.copy(write_images(tmp_path / "large", 1, side=96)[0], folder / "00004.png")
    (folder / "00005.png").write_bytes((folder / "00005.png").read_bytes()[:-30])
    found = {Path(uri).name: flaw for uri, flaw in flaws_of(rows, max_damaged=1, where="").items()}
    assert {name: flaw.reason.name for name, flaw in found.items()} == {
        "00002.png": "unreadable",
        "00003.png": "not-an-image",
        "00004.png": "other-size",
        "00005.png": "damaged",
    }
    assert all(flaw.example.startswith(f"{name}: ") for name, flaw in found.items())
    assert "(height, width) (96, 96), its masks are for (64, 64)" in found["00004.png"].example


CUT = {
    "jpeg": picture("JPEG", 400, quality=95),
    "small jpeg": picture("JPEG"),
    "png": picture("PNG", 200),
    "webp": picture("WEBP", 300, lossless=True),
    "tiff": picture("TIFF", 200),
    "bmp": picture("BMP", 200),
}


@pytest.mark.parametrize("kind", CUT)
def test_cut_files_of_a_disk_are_found_beyond_the_sample(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(image_check, "SAMPLE", 0)
    name = f"a.{kind.split()[-1]}"
    (tmp_path / name).write_bytes(CUT[kind])
    assert unlabeled(tmp_path, tmp_path / "a.arrow")[1]["images"].used == 1
    (tmp_path / name).write_bytes(CUT[kind][:-600])
    with pytest.raises(TrainError, match=f"1 of 1 images is refused: damaged\n *{name}: "):
        unlabeled(tmp_path, tmp_path / "b.arrow")


def test_a_picture_with_something_behind_its_end_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(image_check, "SAMPLE", 0)
    (tmp_path / "motion.jpg").write_bytes(CUT["jpeg"] + bytes(100_000))
    assert unlabeled(tmp_path, tmp_path / "a.arrow")[1]["images"].used == 1


def test_an_image_in_a_bucket_costs_one_read(tmp_path, monkeypatch, reads):
    monkeypatch.setattr(image_check, "SAMPLE", 3)
    folder = f"memory://{uuid.uuid4().hex}"
    memory = fsspec.filesystem("memory")
    for index, kind in enumerate([*CUT] * 2):
        memory.pipe_file(f"{folder}/{index:02d}.{kind.split()[-1]}", CUT[kind])
    _, tally = unlabeled(folder, tmp_path / "a.arrow")
    assert tally["images"].used == 12
    assert len(reads) == 12
    assert set(reads.values()) == {1}


def test_what_was_looked_at_is_remembered_until_it_changes(tmp_path, reads):
    images, memory = write_images(tmp_path / "images", 5), str(tmp_path / "checks")
    images[2].write_bytes(images[2].read_bytes()[:-30])
    ask = {"remembered": memory}
    first = unlabeled(tmp_path / "images", tmp_path / "a.arrow", **ask)
    assert sum(reads[str(one)] for one in images) == 5
    again = unlabeled(tmp_path / "images", tmp_path / "b.arrow", **ask)
    assert sum(reads[str(one)] for one in images) == 5
    assert again[0].fingerprint == first[0].fingerprint
    assert again[1] == first[1]
    shutil.copy(images[1], images[2])
    mended = unlabeled(tmp_path / "images", tmp_path / "c.arrow", **ask)
    assert sum(reads[str(one)] for one in images) == 10
    assert (len(first[0]), len(mended[0])) == (4, 5)


def test_few_bad_images_are_left_out_and_told(tmp_path, caplog):
    source = write_coco(tmp_path, 40)
    path = Path(source.uri) / "00023.png"
    path.write_bytes(path.read_bytes()[:-30])
    rows, tally = checked_rows(
        lambda: open_source(source), tmp_path / "a.arrow", max_damaged=0.05, where="data.labeled"
    )
    assert path.name not in rows.image_ids
    assert len(rows) == tally["images"].used == 39
    assert tally["images"].left_out["damaged"].number == 1
    told = "\n".join(caplog.messages)
    assert "data.labeled:     00023.png: " in told
    assert "begins a run at step 0" in told


def test_many_bad_images_stop_it(tmp_path):
    source = write_coco(tmp_path, 10)
    (Path(source.uri) / "00003.png").write_bytes(b"text")
    with pytest.raises(DamageError, match=r"data: 1 of 10 images \(10.0%\) cannot be used.*max_damaged allows 5.0%"):
        checked_rows(lambda: open_source(source), tmp_path / "a.arrow", max_damaged=0.05, where="data")


def test_a_sample_of_much_damage_spares_the_rest(tmp_path, monkeypatch, reads):
    monkeypatch.setattr(image_check, "SAMPLE", 8)
    for path in write_images(tmp_path / "images", 30):
        path.write_bytes(b"text")
    with pytest.raises(DamageError, match="8 of 8 images"):
        unlabeled(tmp_path / "images", tmp_path / "a.arrow", max_damaged=0.05)
    assert sum(reads.values()) == 8
