"""Masks from boxes and points, beside a plain loop over `SamPredictor` with sam-nano."""

import json

import numpy as np
import pytest

from segray.config.sam import OriginalSamConfig, PromptedMasksSettings
from segray.demo.world import scene
from segray.masks import rle
from segray.masks.object_prompts import OFF, ON, ObjectPrompts, fit
from segray.sam.build import build
from segray.sam.predictor import SamPredictor
from segray.sam.prompted_masks import PromptedMasks

UNBOUND = {"min_predicted_iou": 0, "min_stability": 0, "min_box_agreement": 0}
ALL = PromptedMasksSettings(**UNBOUND)
NO_BOX = [np.nan] * 4


@pytest.fixture(scope="module")
def sam():
    return build(OriginalSamConfig())


@pytest.fixture(scope="module")
def pictures():
    """Two scenes of different size, each with the boxes of its objects."""
    found = []
    for seed, height in ((0, 256), (1, 200)):
        whole = scene("b", seed)
        masks = np.stack([one.mask[:height] for one in whole.objects])
        masks = masks[masks.sum(axis=(1, 2)) > 400]
        found.append((np.ascontiguousarray(whole.image[:height]), rle.boxes_xyxy(rle.encode(masks), masks.shape[1:])))
    return found


def prompts(size_hw, **given):
    fitted, left_out = fit(ObjectPrompts.build(**given), size_hw)
    assert left_out == []
    return fitted


def asked(pictures):
    return [(pixels, prompts(pixels.shape[:2], boxes_xyxy=boxes)) for pixels, boxes in pictures]


def pair_ious(first, second, size_hw):
    masks = [rle.decode(list(one), size_hw) for one in (first, second)]
    return [(a & b).sum() / max((a | b).sum(), 1) for a, b in zip(*masks, strict=True)]


@pytest.mark.parametrize("prompts_per_batch", [None, 1, 3])
def test_masks_are_those_of_a_plain_loop(sam, pictures, prompts_per_batch):
    found = PromptedMasks(sam, ALL, prompts_per_batch).generate(asked(pictures))
    for (pixels, boxes), masks in zip(pictures, found, strict=True):
        expected = SamPredictor(sam).predict(pixels, boxes=boxes)
        assert min(pair_ious(masks.counts, expected.counts, masks.size_hw)) > 0.995
        assert masks.scores == pytest.approx(expected.scores, abs=1e-3)


def test_boxes_points_and_both_keep_their_places(sam, pictures):
    pixels, boxes = pictures[0]
    size_hw = pixels.shape[:2]
    centre = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()
    given = prompts(
        size_hw,
        boxes_xyxy=[boxes[0], NO_BOX, boxes[0], NO_BOX],
        points_xy=[[], [centre[0]], [centre[0]], [centre[0], centre[1]]],
        point_labels=[[], [ON], [ON], [ON, OFF]],
    )
    (found,) = PromptedMasks(sam, ALL).generate([(pixels, given)])
    ask = SamPredictor(sam).predict
    expected = {
        0: ask(pixels, boxes=boxes[:1]),
        2: ask(pixels, boxes=boxes[:1], points=[centre[0]]),
        3: ask(pixels, points=[[centre[0], centre[1]]], labels=[[1, 0]]),
    }
    for place, one in expected.items():
        assert pair_ious(found.counts[place : place + 1], one.counts, size_hw)[0] > 0.99
    assert np.isnan(found.points_xy[0]).all()
    assert found.points_xy[1].tolist() == pytest.approx(centre[0])


def test_what_the_prompts_know_is_kept(sam, pictures):
    pixels, boxes = pictures[0]
    given = prompts(
        pixels.shape[:2], boxes_xyxy=boxes[:2], scores=[0.25, np.nan], classes=[3, -1], ids=["17", ""],
        attributes=['{"occluded": true}', ""],
    )  # fmt: skip
    (found,) = PromptedMasks(sam, ALL).generate([(pixels, given)])
    assert found.scores[0] == 0.25
    assert 0 < found.scores[1] != 0.25
    assert found.classes.tolist() == [3, -1]
    assert found.ids.tolist() == ["17", ""]
    first = json.loads(found.attributes[0])
    assert first["occluded"] is True
    assert first["predicted_iou"] > 0
    assert found.attributes[1] == ""
    assert set(found.provenance) == {"sam:nano"}


@pytest.mark.parametrize(
    ("bound", "reason"),
    [
        ("min_predicted_iou", "predicted IoU below 1"),
        ("min_stability", "stability below 1"),
        ("min_box_agreement", "mask and box agree by less than 1"),
    ],
)
def test_a_doubted_mask_is_its_box_and_marked_for_review(sam, pictures, bound, reason):
    pixels, boxes = pictures[0]
    settings = PromptedMasksSettings(**UNBOUND | {bound: 1.0})
    inner = boxes[0] + [2, 2, -2, -2]
    centre = ((boxes[0, :2] + boxes[0, 2:]) / 2).tolist()
    given = prompts(
        pixels.shape[:2], boxes_xyxy=[inner, NO_BOX], points_xy=[[], [centre]], point_labels=[[], [ON]]
    )  # fmt: skip
    (found,) = PromptedMasks(sam, settings).generate([(pixels, given)])
    assert json.loads(found.attributes[0])["review"] == reason
    assert found.provenance.tolist() == ["box", "sam:nano"]
    assert found.boxes_xyxy[0].tolist() == inner.tolist()
    assert found.areas[0] == (inner[2] - inner[0]) * (inner[3] - inner[1])
    # Without a box there is nothing to put in the mask's place, and nothing that it could disagree with.
    assert ("review" in found.attributes[1]) == ("agree" not in reason)


def test_moved_boxes_are_further_tries_of_which_the_surest_wins(sam, pictures):
    plain, moved = (
        PromptedMasks(sam, PromptedMasksSettings(**UNBOUND, num_moved_boxes=number)).generate(asked(pictures))[0]
        for number in (0, 3)
    )
    assert (moved.scores >= plain.scores - 1e-4).all()
    assert (moved.scores > plain.scores + 1e-3).any()


def test_specks_and_holes_are_mended(sam, pictures):
    settings = PromptedMasksSettings(**UNBOUND, min_mask_region_area=10**6)
    (found, _) = PromptedMasks(sam, settings).generate(asked(pictures))
    for mask in found.to_masks():
        columns = np.flatnonzero(mask.any(axis=0))
        assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))


def test_images_without_objects_have_no_masks(sam, pictures):
    pixels, boxes = pictures[1]
    nothing = prompts(pixels.shape[:2])
    some = prompts(pixels.shape[:2], boxes_xyxy=boxes)
    found = PromptedMasks(sam, ALL).generate([(pixels, nothing), (pixels, some), (pixels, nothing)])
    assert [len(one) for one in found] == [0, len(boxes), 0]
    assert PromptedMasks(sam, ALL).generate([(pixels, nothing)])[0].size_hw == pixels.shape[:2]
