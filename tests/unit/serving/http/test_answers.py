import io
import json

import numpy as np
import pytest
from PIL import Image

from segray.masks import rle
from segray.masks.instances import Instances
from segray.pages import overlay
from segray.serving.backend import ModelInfo
from segray.serving.http import answers
from segray.serving.http.images import DecodedImage
from segray.serving.http.schemas import MasksAnswer, SegmentAnswer
from segray.serving.testing import COLOURS, find, scene

MODEL = ModelInfo(kind="student", name="painted", weights_sha256="ab", classes=tuple(COLOURS))


@pytest.fixture
def pixels():
    return np.asarray(scene())


def picture(pixels):
    return DecodedImage(name="scene.png", sha256="cd", pixels=pixels)


def answered(pixels, found, form):
    text = answers.segment_json([picture(pixels)], [found], MODEL, form)
    SegmentAnswer.model_validate_json(text)
    return json.loads(text)


def smooth_masks(number=20, side=160):
    """Blobs with holes and parts, of all sizes."""
    rng = np.random.default_rng(7)
    noise = [Image.fromarray(rng.random((4 + 2 * i, 4 + 2 * i), dtype=np.float32)) for i in range(number)]
    return np.array([np.asarray(one.resize((side, side), Image.Resampling.BICUBIC)) > 0.6 for one in noise])


def test_run_lengths_are_the_very_masks(pixels):
    found = find(pixels)
    (image,) = answered(pixels, found, "rle")["images"]
    assert (image["name"], image["sha256"], image["height"], image["width"]) == ("scene.png", "cd", 48, 64)
    assert [one["class"] for one in image["instances"]] == ["red", "green", "blue"]
    assert [one["score"] for one in image["instances"]] == [0.9, 0.6, 0.25]
    for one, mask in zip(image["instances"], found.to_masks(), strict=True):
        assert np.array_equal(rle.decode([one["segmentation"]["counts"].encode()], (48, 64))[0], mask)
        rows, columns = np.nonzero(mask)
        x, y, width, height = one["bbox"]
        assert (x, y, x + width, y + height) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert one["area"] == mask.sum()


def test_polygons_are_the_masks_within_their_tolerance():
    """0.75 px from the outline and 2 % of a ring's area at most: over smooth shapes an IoU of at least 0.95."""
    masks = smooth_masks()
    found = Instances.from_masks(masks, provenance="student", classes=[0] * len(masks))
    (image,) = answered(np.zeros((160, 160, 3), dtype=np.uint8), found, "polygons")["images"]
    counts = [rle.from_coco(one["segmentation"], (160, 160)) for one in image["instances"]]
    overlaps = rle.iou(counts, list(found.counts), (160, 160)).diagonal()
    assert len(overlaps) == 20
    assert overlaps.min() > 0.95


def test_polygons_lie_where_their_mask_lies(pixels):
    found = find(pixels)
    (image,) = answered(pixels, found, "polygons")["images"]
    counts = [rle.from_coco(one["segmentation"], (48, 64)) for one in image["instances"]]
    assert rle.iou(counts, list(found.counts), (48, 64)).diagonal().min() > 0.9


@pytest.mark.parametrize(
    ("threshold", "most", "classes"),
    [
        (0, 9, [0, 1, 2]),
        (0.25, 9, [0, 1, 2]),
        (0.3, 9, [0, 1]),
        (0.9, 9, [0]),
        (1, 9, []),
        (0, 2, [0, 1]),
        (0.3, 1, [0]),
    ],
)
def test_the_best_above_the_threshold_are_chosen(pixels, threshold, most, classes):
    assert answers.chosen(find(pixels), threshold, most).classes.tolist() == classes


def test_a_label_map_has_the_best_instance_of_each_pixel():
    masks = np.zeros((2, 4, 6), dtype=bool)
    masks[0, :, 1:4] = True
    masks[1, 1:3] = True
    found = Instances.from_masks(masks, provenance="student", scores=[0.9, 0.5], classes=[6, 2])
    expected = [[0, 7, 7, 7, 0, 0], [3, 7, 7, 7, 3, 3], [3, 7, 7, 7, 3, 3], [0, 7, 7, 7, 0, 0]]
    assert answers.label_map(found, "abcdefg").tolist() == expected
    image = Image.open(io.BytesIO(answers.label_png(found, "abcdefg")))
    assert image.mode == "P"
    assert np.asarray(image).tolist() == expected
    palette = np.array(image.getpalette()).reshape(-1, 3)
    assert palette[0].tolist() == [0, 0, 0]
    assert np.array_equal(palette[1:8], overlay.colours(7))


def test_the_class_background_is_index_0_and_what_no_mask_covers_is_unknown():
    masks = np.array([[[1, 1, 0, 0]], [[0, 0, 1, 0]]], dtype=bool)
    found = Instances.from_masks(masks, provenance="student", classes=[0, 2])
    image = Image.open(io.BytesIO(answers.label_png(found, ("background", "cat", "dog"))))
    assert np.asarray(image).tolist() == [[0, 0, 2, 255]]
    palette = np.array(image.getpalette()).reshape(-1, 3)
    assert palette[[0, 255]].tolist() == [[0] * 3, [128] * 3]
    assert np.array_equal(palette[1:3], overlay.colours(3)[1:])


@pytest.mark.parametrize(
    ("first", "classes", "fits"), [("cat", 254, True), ("cat", 255, False), ("background", 255, True)]
)
def test_a_label_map_has_room_for_so_many_classes(first, classes, fits):
    names = (first, *map(str, range(classes - 1)))
    assert answers.has_label_map(names) is fits
    last = Instances.from_masks(np.ones((1, 1, 1), dtype=bool), provenance="student", classes=[253])
    assert answers.label_map(last, names).max() == 253 + (first == "cat")


def test_an_empty_image_has_an_empty_map():
    assert not answers.label_map(Instances.empty((4, 6)), ("cat",)).any()
    assert Image.open(io.BytesIO(answers.label_png(Instances.empty((4, 6)), ("cat",)))).size == (6, 4)


@pytest.mark.parametrize(("first", "drawn"), [("red", [0, 1, 2]), ("background", [1, 2])])
def test_an_overlay_is_the_drawn_image_without_its_background(pixels, first, drawn):
    found = find(pixels)
    image = Image.open(io.BytesIO(answers.overlay_png(pixels, found, (first, "green", "blue"))))
    assert np.array_equal(np.asarray(image), overlay.draw(pixels, found.filter(np.array(drawn)), by="class"))


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_masks_of_clicks_tell_how_sure_the_model_is(pixels, form):
    text = answers.masks_json(picture(pixels), find(pixels), MODEL, form)
    answer = MasksAnswer.model_validate_json(text)
    assert [one.predicted_iou for one in answer.masks] == [0.9, 0.6, 0.25]
    assert (answer.height, answer.width, answer.model.weights_sha256) == (48, 64, "ab")
