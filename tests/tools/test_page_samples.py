"""The page's samples are the scenes that their script says, small, and told in words."""

import json

import numpy as np
from PIL import Image

from segray.demo.world import scene
from tools.page_samples import FOLDER, SEEDS, SIDE

LISTED = json.loads((FOLDER / "samples.json").read_text())


def test_each_sample_is_the_scene_of_its_seed() -> None:
    for seed, sample in zip(SEEDS, LISTED, strict=True):
        found = scene("b", seed, SIDE)
        drawn = np.asarray(Image.open(FOLDER / sample["file"])).astype(int)
        assert np.abs(drawn - found.image).mean() < 12
        assert all(thing.class_name in sample["shows"] for thing in found.objects)


def test_all_samples_together_are_small() -> None:
    files = list(FOLDER.glob("*.jpg"))
    assert sorted(file.name for file in files) == sorted(sample["file"] for sample in LISTED)
    assert sum(file.stat().st_size for file in files) < 100_000
