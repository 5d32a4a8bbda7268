import json

import numpy as np
import pytest
from PIL import Image

from segray.config.base import build
from segray.errors import LabelError
from segray.formats.registry import open_source
from segray.jobs.stages import images_of, stage_of
from segray.masks.semantic import paint
from segray.methods.sepl.config import VoteConfig

CLASSES = ["background", "disc", "square"]


@pytest.fixture
def maps(coco, tmp_path):
    """Coarse maps: a corner of every rectangle is missing, and a stray pixel claims the upper right."""
    source = open_source(coco)
    out = {}
    for row in source.rows():
        truth = source.instances(row.image_id)
        labels = np.zeros(truth.size_hw, np.uint8)
        for mask, name in zip(truth.to_masks(), truth.classes, strict=True):
            labels[mask] = name + 1
        labels[:, ::3] = 0
        labels[0, -1] = 1
        out[row.image_id] = labels
        Image.fromarray(labels).save(tmp_path / row.image_id)
    return tmp_path, out


@pytest.fixture
def config(masks_store, tmp_path):
    def make(maps, **given):
        tables = {"job": "vote", "masks": masks_store.uri, "stores": str(tmp_path / "stores"), "maps": maps}
        return build(VoteConfig, tables | given, "test")

    return make


def test_voted_labels_fill_the_masks_and_keep_what_none_covers(run, config, maps, coco):
    folder, labels = maps
    stage = stage_of(config({"kind": "folder", "uri": str(folder), "classes": CLASSES}))
    store, rows = run(stage, images_of(stage.config)[1])
    assert store.manifest.content["classes"] == CLASSES
    assert rows["00007.png"].error == "damaged"
    one = rows["00001.png"].instances
    truth = open_source(coco).instances("00001.png")
    expected = np.where(truth.to_masks()[0], truth.classes[0] + 1, 0)
    expected[0, -1] = 1
    assert np.array_equal(paint(one), expected)
    assert list(one.provenance) == ["vote"] * len(one)
    region = one.classes.tolist().index(int(truth.classes[0]) + 1)
    agreed = labels["00001.png"][expected == truth.classes[0] + 1] == truth.classes[0] + 1
    assert one.scores[region] == pytest.approx(agreed.mean())


def test_a_store_of_maps_votes_as_the_same_maps_in_a_folder(run, config, maps):
    folder, _ = maps
    from_folder = stage_of(config({"kind": "folder", "uri": str(folder), "classes": CLASSES}))
    store, rows = run(from_folder, images_of(from_folder.config)[1])
    for image_id, row in rows.items():
        if row.instances is not None:
            Image.fromarray(paint(row.instances)).save(folder / image_id)
    again = stage_of(config({"kind": "store", "uri": store.uri}))
    assert again.content["maps"] == store.manifest.fingerprint
    _, by_store = run(again, images_of(again.config)[1])
    second = list(from_folder.build()(list(images_of(from_folder.config)[1])))
    for row in second:
        if row.instances is not None:
            assert np.array_equal(paint(row.instances), paint(by_store[row.image.image_id].instances))


def test_a_store_without_class_maps_is_refused(config, masks_store):
    with pytest.raises(LabelError, match="holds no class maps"):
        stage_of(config({"kind": "store", "uri": masks_store.uri}))


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.unlink(), "no-map"),
        (lambda path: Image.fromarray(np.full((64, 64), 7, np.uint8)).save(path), "bad-map"),
        (lambda path: Image.fromarray(np.zeros((8, 8), np.uint8)).save(path), "other-size"),
        (lambda path: path.write_bytes(b"nothing"), "not-an-image"),
    ],
)
def test_an_image_without_a_usable_map_is_refused_alone(run, config, maps, write, reason):
    folder, _ = maps
    write(folder / "00001.png")
    stage = stage_of(config({"kind": "folder", "uri": str(folder), "classes": CLASSES}))
    _, rows = run(stage, images_of(stage.config)[1])
    assert rows["00001.png"].error == reason
    assert rows["00002.png"].error is None


def test_the_rule_names_the_store(config, maps):
    table = {"kind": "folder", "uri": str(maps[0]), "classes": CLASSES}
    first, second = (stage_of(config(table, rule={"compat": compat})).content for compat in (False, True))
    assert json.dumps(first) != json.dumps(second)
