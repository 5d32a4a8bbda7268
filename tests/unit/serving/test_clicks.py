"""Clicks become masks; an image is embedded once; what marks nothing is refused in a sentence."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from segray.config.sam import OriginalSamConfig
from segray.config.serve import ClickServing
from segray.demo.world import scene
from segray.masks import rle
from segray.sam.backends.segment_anything.nano import load_sam_nano
from segray.sam.protocol import Embedding
from segray.serving.backend import MOST_POINTS, ImageClicks
from segray.serving.clicks import ClickModel, Embeddings

SCENE = scene("b", 3)
THING = max(SCENE.objects, key=lambda found: found.mask.sum()).mask
IMAGE = np.ascontiguousarray(SCENE.image[:200, :240])
MIDDLE = (120.0, 90.0)
NAME = "a" * 64


@pytest.fixture(scope="module")
def model() -> ClickModel:
    return ClickModel(ClickServing(sam=OriginalSamConfig(device="cpu"), cached_images=2))


def box(mask: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = rle.boxes_xyxy(rle.encode(mask[None]), mask.shape)[0].tolist()
    return x0, y0, x1, y1


def overlap(first: Any, second: Any) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize(
    ("clicks", "number"),
    [
        (ImageClicks(points_xy=(MIDDLE,), labels=(1,)), 3),
        (ImageClicks(points_xy=(MIDDLE, (10, 10)), labels=(1, 0)), 1),
        (ImageClicks(box_xyxy=(60, 40, 180, 150)), 1),
        (ImageClicks(points_xy=(MIDDLE, (70, 50)), labels=(1, 0), box_xyxy=(60, 40, 180, 150)), 1),
    ],
    ids=["a point", "points", "a box", "a box and points"],
)
def test_masks_are_those_of_sams_own_predictor(model: ClickModel, clicks: ImageClicks, number: int) -> None:
    predictor = SamPredictor(load_sam_nano())
    predictor.set_image(IMAGE)
    masks, scores, _ = predictor.predict(
        np.array(clicks.points_xy) if clicks.points_xy else None,
        np.array(clicks.labels) if clicks.labels else None,
        box=np.array(clicks.box_xyxy) if clicks.box_xyxy else None,
        multimask_output=number == 3,
    )
    best = np.argsort(-scores)
    found = model.masks(IMAGE, NAME, clicks)
    assert len(found) == number
    np.testing.assert_allclose(found.scores, scores[best], atol=1e-4)
    assert [overlap(ours, masks[one]) > 0.99 for ours, one in zip(found.to_masks(), best, strict=True)] == [
        True
    ] * number
    assert set(found.provenance) == {"sam"}
    assert found.size_hw == (200, 240)


def test_a_box_around_a_thing_gives_the_thing(model: ClickModel) -> None:
    found = model.masks(SCENE.image, "thing", ImageClicks(box_xyxy=box(THING)))
    assert overlap(found.to_masks()[0], THING) > 0.6


def test_empty_masks_are_left_out(model: ClickModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.sam, "mask_threshold", 1e9)
    assert len(model.masks(IMAGE, NAME, ImageClicks(points_xy=(MIDDLE,), labels=(1,)))) == 0


@pytest.mark.parametrize(
    ("clicks", "sentence"),
    [
        (ImageClicks(), "nothing is marked"),
        (ImageClicks(points_xy=(MIDDLE,), labels=(0,)), "nothing is marked"),
        (ImageClicks(points_xy=(MIDDLE,), labels=()), "1 points need as many labels, 0 are given"),
        (ImageClicks(points_xy=(MIDDLE,), labels=(2,)), "not 2"),
        (ImageClicks(points_xy=((240, 10),), labels=(1,)), "point (240, 10) lies outside of the image"),
        (ImageClicks(points_xy=((10, -1),), labels=(1,)), "which is 240 x 200 pixels"),
        (ImageClicks(points_xy=((float("nan"), 3),), labels=(1,)), "lies outside"),
        (ImageClicks(box_xyxy=(50, 50, 40, 60)), "from its upper left to its lower right"),
        (ImageClicks(box_xyxy=(0, 0, 241, 10)), "lie inside the image"),
        (ImageClicks(box_xyxy=(0, 0, float("inf"), 10)), "lie inside the image"),
        (ImageClicks(points_xy=(MIDDLE,) * (MOST_POINTS + 1), labels=(1,) * (MOST_POINTS + 1)), "at most 100"),
    ],
)
def test_clicks_that_do_not_fit_the_image_are_refused_in_a_sentence(
    model: ClickModel, clicks: ImageClicks, sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        model.masks(IMAGE, NAME, clicks)


def test_the_whole_image_may_be_the_box(model: ClickModel) -> None:
    assert len(model.masks(IMAGE, NAME, ImageClicks(box_xyxy=(0, 0, 240, 200)))) <= 1


def test_it_says_which_model_answers(model: ClickModel) -> None:
    info = model.info()
    assert (info.kind, info.name, info.weights_sha256) == ("sam", "nano", model.sam.weights_hash)
    assert info.classes == ()


def test_callers_of_one_image_at_once_embed_it_once(model: ClickModel, monkeypatch: pytest.MonkeyPatch) -> None:
    callers, embedded, embed = 4, [], model.sam.embed
    all_there = threading.Barrier(callers)

    def counted(images: Any) -> Embedding:
        embedded.append(len(images))
        return embed(images)

    def call(_: int) -> bytes:
        all_there.wait(timeout=30)
        return bytes(model.masks(IMAGE, "shared", ImageClicks(points_xy=(MIDDLE,), labels=(1,))).counts[0])

    monkeypatch.setattr(model.sam, "embed", counted)
    with ThreadPoolExecutor(callers) as pool:
        masks = set(pool.map(call, range(callers)))
    assert embedded == [1]
    assert len(masks) == 1


def embedding(name: str) -> Embedding:
    return Embedding(features=name, sizes_hw=((1, 1),))


def test_the_longest_unused_embedding_goes_first() -> None:
    kept, made = Embeddings(2), []

    def get(name: str) -> None:
        kept.get(name, lambda: (made.append(name), embedding(name))[1])

    for name in "abacab":
        get(name)
        assert len(kept) <= 2
    assert made == ["a", "b", "c", "b"]


def test_an_embedding_that_failed_is_tried_again() -> None:
    kept = Embeddings(2)

    def fail() -> Embedding:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        kept.get("a", fail)
    assert kept.get("a", lambda: embedding("a")).features == "a"
