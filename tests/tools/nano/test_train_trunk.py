import json

import pytest
import torch

from segray.demo.coco import renamed, write_world
from segray.losses.criterion import Targets
from segray.masks.view import View
from segray.training.augmentation.batch import Batch
from tools.nano import train_trunk
from tools.nano.train_trunk import Namer, Words, from_sam

CLASSES = ("blob/red/dotted", "rod/blue/dotted", "rod/red/striped")
VIEW = View(image_hw=(4, 4), resized_hw=(4, 4), origin_yx=(0, 0), flipped=False, canvas_hw=(4, 4))


def batch(classes, masks):
    targets = Targets(classes=torch.tensor(classes), masks=masks)
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    return Batch(image_ids=("a",), keys=(0,), images=images, views=(VIEW,), targets=(targets,))


def test_words_are_those_of_the_object_at_each_pixel_and_nothing_elsewhere():
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, 0], masks[1, 1] = True, True
    words = Words(CLASSES)
    assert words.vocabularies == (("blob", "rod"), ("blue", "red"), ("dotted", "striped"))
    found = words.of(batch([0, 2], masks))[0]
    assert found[:, 0, 0].tolist() == [0, 1, 0]
    assert found[:, 1, 0].tolist() == [1, 1, 1]
    assert found[:, 2, 0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("wrong", [False, True])
def test_the_loss_is_low_where_the_words_are_right(wrong):
    words = torch.zeros(1, 1, 32, 32, dtype=torch.int64)
    namer = Namer((("x", "y"),))
    for head in namer.heads:
        torch.nn.init.zeros_(head.weight)
        head.bias.data = torch.tensor([-9.0, 9.0, 0.0] if wrong else [9.0, -9.0, 0.0])
    features = tuple(
        torch.zeros(1, width, 32 // s, 32 // s) for s, width in zip((4, 8, 16, 32), (64, 128, 160, 192), strict=True)
    )
    losses = namer.losses(features, words)
    assert losses.shape == (4, 1)
    assert bool((losses > 5).all() if wrong else (losses < 0.01).all())


def test_renamed_worlds_have_a_category_per_name(tmp_path):
    path = write_world(tmp_path, "a", 2, seed=7, size=64)
    document = json.loads(renamed(path, lambda shape, words: f"{shape}/{words['colour']}").read_text())
    original = json.loads(path.read_text())
    shapes = {one["id"]: one["name"] for one in original["categories"]}
    names = {one["id"]: one["name"] for one in document["categories"]}
    for new, old in zip(document["annotations"], original["annotations"], strict=True):
        assert names[new["category_id"]] == f"{shapes[old['category_id']]}/{old['attributes']['colour']}"


def test_training_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(train_trunk, "SCENES", 4)
    monkeypatch.setattr(train_trunk, "SAVE_EVERY", 1)
    whole = train_trunk.train(tmp_path / "whole", 2)

    class KilledError(Exception):
        pass

    save = torch.save

    def die_after(*args):
        save(*args)
        raise KilledError

    monkeypatch.setattr(train_trunk.torch, "save", die_after)
    with pytest.raises(KilledError):
        train_trunk.train(tmp_path / "parts", 2)
    monkeypatch.undo()
    monkeypatch.setattr(train_trunk, "SCENES", 4)
    parts = train_trunk.train(tmp_path / "parts", 2)
    assert torch.equal(whole.stem[0].weight, parts.stem[0].weight)
    assert not torch.equal(whole.stem[0].weight, from_sam().stem[0].weight)
