import io
import os
import zipfile

import numpy as np
import pytest

from segray.datasets.class_maps import read_map
from segray.errors import ImageError

MAP = np.array([[0, 1], [2, 255]])
SCORES = {"1": np.array([[0.9, 0.3], [0.5, 0.0]], np.float32), "0": np.array([[0.1, 0.5], [0.6, 0.39]], np.float32)}


@pytest.fixture
def read(tmp_path):
    def go(content, background=0.4):
        ending = ".npz" if isinstance(content, dict) else ".npy"
        path = tmp_path / f"a{ending}"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, dict):
            np.savez(path, **content)
        else:
            np.save(path, content, allow_pickle=True)
        return read_map(str(tmp_path), "a.jpg", 3, ending=ending, background=background)

    return go


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_an_array_is_the_map(read, dtype):
    assert read(MAP.astype(dtype)).tolist() == MAP.tolist()


def test_scores_by_class_from_0_meet_the_backgrounds(read):
    assert read(SCORES).tolist() == [[2, 1], [1, 0]]
    assert read(SCORES, background=0.55).tolist() == [[2, 0], [1, 0]]


def header(shape, dtype="<f8"):
    """An NPY file that promises more than it holds."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (np.zeros((2, 2), np.float32), "whole numbers"),
        (np.zeros((2, 2, 2), np.uint8), "whole numbers"),
        (np.full((2, 2), 7), "holds class 7"),
        (np.full((2, 2), 300), "holds 300 to 300"),
        (np.array({0: Trap()}, dtype=object), "Python objects, which are not read: .* tools.convert_cams"),
        (np.array([Trap()], dtype=object), "Python objects"),
        (header((100_000, 100_000)), "promises 80000000000 bytes"),
        (header((2, 2)), "promises 32 bytes|cannot reshape|no array"),
        (b"", "no array"),
        (b"not numpy at all", "no array"),
        ({}, "holds no map"),
        ({"cat": np.zeros((2, 2))}, "not score maps by class"),
        ({"0": np.zeros((2, 2)), "1": np.zeros((3, 2))}, "of one size"),
        ({"0": np.zeros(2)}, "of one size"),
        ({"0": np.array([["a"]])}, "of one size"),
        ({"300": np.zeros((2, 2))}, "classes are 0 to 254"),
        ({"0": np.array({0: Trap()}, dtype=object)}, "Python objects"),
    ],
)
def test_what_is_no_map_is_refused_and_runs_nothing(read, content, detail, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=detail) as refused:
        read(content)
    assert refused.value.reason == "bad-map"
    assert not (tmp_path / "sprung").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npy", bytes(2**28 + 1))
    with pytest.raises(ImageError, match="is of 268435457 bytes"):
        read_map(str(tmp_path), "a.jpg", 3, ending=".npz")


@pytest.mark.parametrize("image_id", ["../a.jpg", "/etc/passwd"])
def test_an_image_id_does_not_lead_out_of_the_folder(tmp_path, image_id):
    np.save(tmp_path / "a.npy", MAP)
    (tmp_path / "maps").mkdir()
    with pytest.raises(ImageError, match="leads out of the folder") as refused:
        read_map(str(tmp_path / "maps"), image_id, 3, ending=".npy")
    assert refused.value.reason == "no-map"
