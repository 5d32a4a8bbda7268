import os
import pickle

import numpy as np
import pytest

from segray.datasets.class_maps import read_map
from segray.errors import ImageError

MAP = np.array([[0, 1], [2, 255]])


@pytest.fixture
def read(tmp_path):
    def go(content, background=0.4):
        np.save(tmp_path / "a.npy", content, allow_pickle=True)
        return read_map(str(tmp_path), "a.jpg", 3, ending=".npy", background=background)

    return go


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_an_array_is_the_map(read, dtype):
    assert read(MAP.astype(dtype)).tolist() == MAP.tolist()


def test_scores_by_class_from_0_meet_the_backgrounds(read):
    scores = {1: np.array([[0.9, 0.3], [0.5, 0.0]], np.float32), 0: np.array([[0.1, 0.5], [0.6, 0.39]], np.float32)}
    assert read(scores).tolist() == [[2, 1], [1, 0]]
    assert read(scores, background=0.55).tolist() == [[2, 0], [1, 0]]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (np.zeros((2, 2), np.float32), "whole numbers"),
        (np.zeros((2, 2, 2), np.uint8), "whole numbers"),
        (np.full((2, 2), 7), "holds class 7"),
        (np.full((2, 2), 300), "holds 300 to 300"),
        ({}, "empty dict"),
        ({0: "no array"}, "not a dict of"),
    ],
)
def test_what_is_no_map_is_refused(read, content, detail):
    with pytest.raises(ImageError, match=detail) as refused:
        read(content)
    assert refused.value.reason == "bad-map"


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_a_pickle_runs_nothing(tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=r"mkdir is no array"):
        read(np.array({0: Trap()}, dtype=object))
    assert not (tmp_path / "sprung").exists()
    assert pickle.dumps(Trap())
