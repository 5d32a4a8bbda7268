import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segray.config.base import build
from segray.config.label import ClassifyConfig
from segray.errors import LabelError
from segray.evidence.nano_clip import NanoClip, save
from segray.images import decoding as image_files
from segray.jobs.outputs import export
from segray.jobs.stages import images_of, stage_of


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """A clip-nano of random weights that knows five words."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("words") / "clip.safetensors"
    save(NanoClip(["disc", "square", "sky", "red", "triangle"]), path)
    return str(path)


@pytest.fixture
def config(masks_store, words, tmp_path):
    def make(**given):
        tables = {
            "job": "classify",
            "masks": masks_store.uri,
            "stores": str(tmp_path / "stores"),
            "clip": {"kind": "nano", "weights": words},
            "vocabulary": {"classes": ["disc", "square"]},
            "match": {"min_tokens": 0},
            "threshold": 0.0,
        }
        return build(ClassifyConfig, tables | given, "test")

    return make


def test_every_mask_of_the_store_gets_a_class_and_a_score(run, config, masks_store):
    stage = stage_of(config(output="objects"))
    store, rows = run(stage, images_of(stage.config)[1])
    assert len(rows) == 8
    assert rows["00007.png"].error == "damaged"
    assert [len(rows[f"0000{index}.png"].instances) for index in range(7)] == [0, 1, 2, 3, 0, 1, 2]
    found = [row.instances for row in rows.values() if row.instances is not None]
    assert {int(one) for instances in found for one in instances.classes} <= {0, 1}
    assert all((instances.scores >= 0.5).all() for instances in found)
    assert {maker for instances in found for maker in instances.provenance} == {"zero-shot"}
    assert store.manifest.content["masks"] == masks_store.manifest.fingerprint


def test_a_map_names_the_background_and_its_masks_do_not_overlap(run, config):
    stage = stage_of(config(threshold=1.0, match={"measure": "cosine", "min_tokens": 0}))
    store, rows = run(stage, images_of(stage.config)[1])
    assert store.manifest.content["classes"] == ["background", "disc", "square"]
    many = rows["00003.png"].instances
    assert set(many.classes) == {0}
    assert many.to_masks().sum(0).max() == 1


def test_class_names_are_all_that_an_open_vocabulary_coco_file_needs(run, config, tmp_path):
    stage = stage_of(config(output="objects"))
    store, _ = run(stage, images_of(stage.config)[1])
    export(store, "coco", tmp_path / "open.json")
    document = json.loads((tmp_path / "open.json").read_text())
    assert [category["name"] for category in document["categories"]] == ["disc", "square"]
    assert {one["category_id"] for one in document["annotations"]} <= {1, 2}
    assert len(document["annotations"]) == 9


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({}, True),
        ({"workers": {"images_per_batch": 1}}, True),
        ({"threshold": 0.1}, False),
        ({"vocabulary": {"classes": ["disc", "square"], "background": ["sky"]}}, False),
        ({"output": "objects"}, False),
        ({"match": {"min_tokens": 1}}, False),
    ],
)
def test_what_decides_the_classes_names_the_store(config, given, same):
    first, second = (json.dumps(stage_of(one).content, sort_keys=True) for one in (config(), config(**given)))
    assert (first == second) is same


@pytest.fixture
def few(coco, tmp_path):
    """Labels of three of the store's eight images, one of which the store refused."""
    document = json.loads(Path(coco.annotations).read_text())
    document["images"] = [one for one in document["images"] if one["id"] in (2, 3, 7)]
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] in (2, 3, 7)]
    (tmp_path / "few.json").write_text(json.dumps(document))
    return dataclasses.replace(coco, annotations=str(tmp_path / "few.json"))


def test_a_threshold_is_chosen_on_labeled_images_and_no_other_file_is_opened(config, few, monkeypatch):
    opened, load = [], image_files.load
    monkeypatch.setattr(image_files, "load", lambda uri, *how: opened.append(uri) or load(uri, *how))
    labeled = {"kind": "coco", "uri": few.uri, "annotations": few.annotations}
    stage = stage_of(config(threshold={"labeled": labeled, "candidates": [0.0, 0.5, 1.0]}))
    assert stage.threshold in (0.0, 0.5, 1.0)
    assert stage.content["threshold"] == stage.threshold
    assert {Path(uri).name for uri in opened} == {"00002.png", "00003.png"}, "labeled, and with masks in the store"


def test_labels_of_other_classes_are_refused(config, coco):
    labeled = {"kind": "coco", "uri": coco.uri, "annotations": coco.annotations}
    wrong = config(threshold={"labeled": labeled}, vocabulary={"classes": ["triangle"]})
    with pytest.raises(LabelError, match=r"classes \['disc', 'square'\], which are not among"):
        stage_of(wrong)


def test_an_image_that_changed_since_is_refused(run, config):
    stage = stage_of(config())
    images = list(images_of(stage.config)[1])
    changed = [type(one)(image_id=one.image_id, uri=one.uri, version="new") for one in images[:1]]
    _, rows = run(stage, changed)
    assert [row.error for row in rows.values()] == ["not-labeled"]


def test_masks_of_another_size_are_refused(run, config, tmp_path):
    stage = stage_of(config())
    image = next(image for image in images_of(stage.config)[1] if image.image_id == "00003.png")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "small.png")
    moved = type(image)(image_id=image.image_id, uri=str(tmp_path / "small.png"), version=image.version)
    _, rows = run(stage, [moved])
    assert rows[image.image_id].error == "other-size"
