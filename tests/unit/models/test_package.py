import hashlib
import json

import numpy as np
import pytest
import torch

from segray.config.students import HfBackbone
from segray.errors import BackendError
from segray.models.build import load_student
from segray.models.package import read_card, save_student


@pytest.fixture
def folder(tmp_path, build):
    save_student(build(seed=5), str(tmp_path / "student"), info={"fingerprint": "abc", "step": 7})
    return tmp_path / "student"


def test_it_comes_back_as_it_was(folder, build):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    ours, theirs = build(seed=5), load_student(str(folder))
    assert not theirs.training
    assert theirs.classes == ours.classes
    assert theirs.settings == ours.settings
    assert np.array_equal(theirs.predict([image])[0].scores, ours.predict([image])[0].scores)


def test_the_card_says_what_it_is(folder):
    card = read_card(str(folder))
    assert card["info"] == {"fingerprint": "abc", "step": 7}
    assert card["preprocessing"]["longer_side"] == 64
    assert sorted(path.name for path in folder.iterdir()) == ["student.json", "student.safetensors"]


def test_pretrained_weights_need_not_be_at_hand(tmp_path, build):
    student = build(seed=None, backbone=HfBackbone(architecture="resnet-18", weights="not/there"))
    save_student(student, str(tmp_path), info={})
    again = load_student(str(tmp_path))
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def edit(folder, **changes):
    card = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(card | changes))


def spoil(folder, how):
    weights, card = folder / "student.safetensors", folder / "student.json"
    match how:
        case "no card":
            card.unlink()
        case "no weights":
            weights.unlink()
        case "cut short":
            weights.write_bytes(weights.read_bytes()[:-10])
        case "not json":
            card.write_text("{")
        case "another format":
            edit(folder, format=2)
        case "no classes":
            text = json.loads(card.read_text())
            del text["classes"]
            card.write_text(json.dumps(text))
        case "unknown student":
            edit(folder, student={"kind": "mask3former"})
        case "another width":
            settings = json.loads(card.read_text())["student"]
            edit(folder, student=settings | {"num_queries": 9})
        case "other classes":
            edit(folder, classes=["one"])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no card", "student.json cannot be read"),
        ("no weights", "student.safetensors cannot be read"),
        ("cut short", "damaged"),
        ("not json", "damaged"),
        ("another format", "format 2"),
        ("no classes", "lacks classes"),
        ("unknown student", "mask3former"),
        ("another width", "do not fit this architecture"),
        ("other classes", "do not fit this architecture"),
    ],
)
def test_what_is_wrong_is_said(folder, how, says):
    spoil(folder, how)
    with pytest.raises(BackendError, match=says):
        load_student(str(folder))


@pytest.mark.parametrize(
    ("key", "value"),
    [("classes", None), ("classes", [1, 2]), ("student", None), ("student", []), ("weights_sha256", 7), ("info", [])],
)
def test_a_card_of_other_kinds_is_an_error_that_names_them(folder, key, value):
    edit(folder, **{key: value})
    with pytest.raises(BackendError, match=f"another kind of {key}"):
        load_student(str(folder))


def test_a_card_without_end_and_weights_that_are_none_are_errors(folder):
    (folder / "student.safetensors").write_bytes(b"\xff" * 64)
    edit(folder, weights_sha256=hashlib.sha256(b"\xff" * 64).hexdigest())
    with pytest.raises(BackendError, match="holds no tensors"):
        load_student(str(folder))
    (folder / "student.json").write_text("[" * 100_000)
    with pytest.raises(BackendError, match="damaged"):
        load_student(str(folder))


def test_an_empty_folder_is_no_student(tmp_path):
    with pytest.raises(BackendError, match=r"is no student.*segray train"):
        load_student(str(tmp_path / "nothing"))
