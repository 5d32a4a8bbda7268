"""Exact mode's masks are those of segment-anything's SamAutomaticMaskGenerator: as many, and the same."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, build_sam_vit_b
from segment_anything.modeling import Sam

from segray.assets import SAM_NANO
from segray.config.sam import MaskGeneration
from segray.demo.world import scene
from segray.masks import rle
from segray.masks.instances import Instances
from segray.sam.backends.segment_anything.model import OriginalSam
from segray.sam.backends.segment_anything.nano import build_sam_nano, load_sam_nano
from segray.sam.mask_generation.filters import stability_scores
from segray.sam.mask_generation.generator import MaskGenerator
from segray.sam.mask_generation.grids import grid_points
from segray.sam.protocol import Prompts

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "coco-free" / "images"
ENOUGH = 20
"""Masks that each image must have for the comparison to mean something."""

needs_photographs = pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason=f"no photographs at {PHOTOGRAPHS}")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def nano() -> Sam:
    if SAM_NANO.is_file():
        return load_sam_nano()
    torch.manual_seed(0)
    return build_sam_nano()


def photographs(number: int) -> list[np.ndarray]:
    return [np.array(Image.open(path).convert("RGB")) for path in sorted(PHOTOGRAPHS.iterdir())[:number]]


def scenes(number: int) -> list[np.ndarray]:
    """Portraits, landscapes and squares."""
    shapes = [(160, 240), (240, 160), (200, 200)]
    whole = [scene("b", seed, 240).image for seed in range(number)]
    return [image[: shapes[i % 3][0], : shapes[i % 3][1]] for i, image in enumerate(whole)]


def parameters(model: Sam, images: list[np.ndarray], **more: Any) -> dict[str, Any]:
    """Thresholds above 0 for these weights and images: half the masks pass the first filter, most the second."""
    sam, grid = wrapped(model), 6
    points = [torch.from_numpy(grid_points(grid, image.shape[:2]))[:, None] for image in images]
    index = torch.arange(len(images)).repeat_interleave(grid**2)
    prompts = Prompts(image_index=index, points_xy=torch.cat(points), labels=torch.ones(len(index), 1))
    decoded = sam.decode(sam.embed(images), prompts)
    threshold = float(torch.quantile(decoded.scores, 0.5))
    if threshold <= 0.01:
        # At or below 0 the reference's filter is off.
        model.mask_decoder.iou_prediction_head.layers[-1].bias.data += 0.5 - threshold
        decoded = replace(decoded, scores=decoded.scores + 0.5 - threshold)
        threshold = 0.5
    logits = sam.logits(decoded, torch.nonzero(decoded.scores.flatten() > threshold)[:, 0])
    offset = min(1.0, float(logits.std()) / 20)
    stabilities = stability_scores(logits, sam.mask_threshold, offset).nan_to_num()
    return {
        "pred_iou_thresh": threshold,
        "stability_score_offset": offset,
        "stability_score_thresh": max(0.01, float(torch.quantile(stabilities, 1 / 3))),
        "box_nms_thresh": 0.95,
    } | more


def wrapped(model: Sam) -> OriginalSam:
    return OriginalSam(model, name="golden", weights_hash="0", device=torch.device("cpu"))


def compare(model: Sam, images: list[np.ndarray], chosen: dict[str, Any], batch: int | None, enough: int) -> None:
    """Both generators over all images; ours gets them in one call."""
    ours = MaskGenerator(wrapped(model), MaskGeneration(**chosen), batch).generate(images)
    theirs = SamAutomaticMaskGenerator(model, points_per_batch=batch or 64, output_mode="coco_rle", **chosen)
    ious = []
    for image, found in zip(images, ours, strict=True):
        wanted = theirs.generate(image)
        assert len(found) == len(wanted) >= enough
        ious.append(matched(found, wanted))
    assert np.mean(np.concatenate(ious)) >= 0.9999


def matched(found: Instances, wanted: list[dict[str, Any]]) -> np.ndarray:
    """IoU of each of the reference's masks with ours of the same place in the order; all else must agree too."""
    counts = [one["segmentation"]["counts"].encode() for one in wanted]
    ious = np.array([rle.iou([a], [b], found.size_hw)[0, 0] for a, b in zip(counts, found.counts, strict=True)])
    if ious.min() < 0.99:
        # Scores that differ in the last digit may change places.
        return rle.iou(counts, list(found.counts), found.size_hw).max(axis=1)
    same = ious == 1
    for name, values in {
        "predicted_iou": found.scores,
        "stability_score": found.stabilities,
        "area": found.areas,
        "point_coords": found.points_xy[:, None],
    }.items():
        theirs = np.array([one[name] for one in wanted])
        # Rounding may move a pixel of the shifted masks that stability compares.
        np.testing.assert_allclose(values[same], theirs[same], rtol=1e-3, atol=1e-3, err_msg=name)
    corners = np.array([one["bbox"] for one in wanted])[:, :2]
    np.testing.assert_array_equal(found.boxes_xyxy[same, :2], corners[same])
    return ious


@pytest.mark.slow
@needs_photographs
def test_nano_on_photographs(nano: Sam) -> None:
    for image in photographs(20):
        compare(nano, [image], parameters(nano, [image], points_per_side=12, box_nms_thresh=0.98), 16, ENOUGH)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 1, 7, 64])
def test_nano_on_scenes_whatever_the_batch(nano: Sam, batch: int | None) -> None:
    """13 x 13 points: batches of 7 and 64 end with a partial one."""
    images = scenes(6)
    compare(nano, images, parameters(nano, images, points_per_side=13), batch, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {"crop_n_layers": 1},
        {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "crop_nms_thresh": 0.9},
        {"crop_n_layers": 1, "min_mask_region_area": 60},
        {"min_mask_region_area": 200, "box_nms_thresh": 0.6},
        {"stability_score_thresh": 0.0},
        {"pred_iou_thresh": 0.0, "box_nms_thresh": 0.5},
    ],
    ids=str,
)
def test_nano_with_every_parameter(nano: Sam, more: dict[str, Any]) -> None:
    images = scenes(2)
    compare(nano, images, parameters(nano, images, points_per_side=8) | more, 16, 4)


@pytest.mark.slow
def test_random_vit_b() -> None:
    """Random masks are scattered all over, with one box: suppression is switched off so that they can be compared."""
    torch.manual_seed(0)
    model = build_sam_vit_b().eval()
    images = scenes(2)
    compare(model, images, parameters(model, images[:1], points_per_side=8, box_nms_thresh=1.0), 8, ENOUGH)
