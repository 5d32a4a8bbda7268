"""The prompt job from its config to its store, in this process, with sam-nano."""

import json

import numpy as np
import pytest

from segray.config.base import build
from segray.demo.coco import write_world
from segray.errors import ConfigError
from segray.formats.registry import open_source
from segray.jobs.label import label
from segray.labels.prompting.config import PromptConfig
from segray.labels.prompting.stage import images_of
from segray.masks import rle
from segray.store import Store, StoreKind


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three scenes as a COCO file without masks, and what the masks were."""
    path = write_world(tmp_path_factory.mktemp("world"), "b", 3)
    document = json.loads(path.read_text())
    truth = {one["id"]: one.pop("segmentation") for one in document["annotations"]}
    for one in document["annotations"]:
        one["attributes"] = {"drawn_by": "ann"}
    document["annotations"][0]["bbox"] = [-50, -50, 20, 20]
    document["annotations"][1]["bbox"] = [0.1, 0.1, 0.5, 0.5]
    path.write_text(json.dumps(document))
    return path, truth, document


@pytest.fixture
def config(world, tmp_path):
    def make(**given):
        source = {"kind": "coco", "uri": str(world[0].parent / "images"), "annotations": str(world[0])}
        tables = {
            "job": "prompt",
            "source": source,
            "stores": str(tmp_path / "stores"),
            "workers": {"num_workers": 0, "images_per_part": 2},
            "prompts": {"min_predicted_iou": 0.0, "min_stability": 0.0, "min_box_agreement": 0.0},
        }
        return build(PromptConfig, tables | given, "test")

    return make


def test_each_box_becomes_a_mask_with_what_the_file_knows_of_it(world, config):
    _, truth, document = world
    summary = label(config())
    assert summary.outcome == "complete"
    assert summary.tallies["objects"].lines() == [
        f"{len(truth)} objects read, {len(truth) - 2} used",
        f"  1 of {len(truth)} objects has boxes outside the image",
        f"  1 of {len(truth)} objects has boxes in relative units",
    ]
    store = Store.open(summary.store)
    assert store.manifest.kind == StoreKind.OBJECTS
    names = {one["id"]: one["name"] for one in document["categories"]}
    files = {one["id"]: one["file_name"] for one in document["images"]}
    ious = []
    for one in document["annotations"][2:]:
        instances = store[files[one["image_id"]]].instances
        (place,) = np.flatnonzero(instances.ids == str(one["id"]))
        assert store.manifest.content["classes"][instances.classes[place]] == names[one["category_id"]]
        assert json.loads(instances.attributes[place])["drawn_by"] == "ann"
        true = rle.decode([rle.from_coco(truth[one["id"]], instances.size_hw)], instances.size_hw)[0]
        mask = instances.to_masks()[place]
        ious.append((true & mask).sum() / (true | mask).sum())
    assert np.mean(ious) > 0.6


def test_an_image_with_other_boxes_is_labeled_again_and_no_other(world, config):
    assert label(config()).images == 3
    path, _, document = world
    before = path.read_text()
    document["annotations"][-1]["bbox"][2] += 5
    path.write_text(json.dumps(document))
    try:
        assert label(config()).images == 1
    finally:
        path.write_text(before)


def test_the_store_of_a_prompt_job_is_a_source_of_prompts(config):
    first = label(config())
    again = config(source={"kind": "store", "uri": first.store})
    assert len(list(images_of(open_source(again.source)))) == 3
    found = Store.open(label(again).store)
    masks = open_source(config(source={"kind": "store", "uri": first.store}).source)
    for row in found:
        assert row.instances.ids.tolist() == masks.instances(row.image_id).ids.tolist()


def test_a_source_without_boxes_is_refused_with_those_that_have_them(config):
    with pytest.raises(ConfigError, match="source"):
        config(source={"kind": "folder", "uri": "images"})
