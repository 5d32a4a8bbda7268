import subprocess
import sys

import numpy as np
import pytest

from segray.datasets.class_maps import read_map

SCORES = {1: np.array([[0.9, 0.3], [0.5, 0.0]], np.float32), 0: np.array([[0.1, 0.5], [0.6, 0.39]], np.float32)}
IRN = {"keys": np.array([0, 1]), "high_res": np.stack([SCORES[0], SCORES[1]])}


def convert(folder, *options):
    command = [sys.executable, "-m", "tools.convert_cams", str(folder / "cams"), str(folder / "out"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("content", [SCORES, IRN], ids=["dict", "irn"])
def test_dictionaries_of_scores_become_class_maps(tmp_path, content):
    (tmp_path / "cams").mkdir()
    np.save(tmp_path / "cams" / "a.npy", content, allow_pickle=True)
    assert convert(tmp_path, "--i-trust-these-files").returncode == 0
    assert read_map(str(tmp_path / "out"), "a.jpg", 3, ending=".npz").tolist() == [[2, 1], [1, 0]]


def test_nothing_is_unpickled_without_consent(tmp_path):
    (tmp_path / "cams").mkdir()
    np.save(tmp_path / "cams" / "a.npy", SCORES, allow_pickle=True)
    refused = convert(tmp_path)
    assert refused.returncode == 2
    assert "--i-trust-these-files" in refused.stderr
    assert not (tmp_path / "out").exists()
