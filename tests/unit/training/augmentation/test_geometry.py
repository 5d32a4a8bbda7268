import numpy as np
import pytest
import torch
from PIL import Image

from segray import keyed_random
from segray.config.views import WeakView
from segray.datasets.training_rows import TrainingRow
from segray.errors import TrainError
from segray.masks.instances import Instances
from segray.masks.view import View
from segray.models.preprocessing import PADDING_RGB
from segray.training.augmentation.geometry import apply_view, draw_view, sample

SETTINGS = WeakView(canvas_hw=(64, 96), min_scale=0.5, max_scale=2.0, flip=0.5)


def noise(size_hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


@pytest.mark.parametrize("image_hw", [(40, 30), (200, 90), (64, 96), (1, 500)])
def test_views_cover_their_range(image_hw):
    views = [draw_view(image_hw, SETTINGS, keyed_random.key("test", index)) for index in range(400)]
    fit = min(64 / image_hw[0], 96 / image_hw[1])
    scales = [max(view.resized_hw) / max(image_hw) / fit for view in views]
    assert 0.48 < min(scales) < 0.6
    assert 1.9 < max(scales) < 2.02
    assert 120 < sum(view.flipped for view in views) < 280
    for view in views:
        assert all(
            0 <= at <= max(0, side - own)
            for at, side, own in zip(view.origin_yx, view.resized_hw, (64, 96), strict=True)
        )
        assert min(view.valid_hw) > 0
    assert draw_view(image_hw, SETTINGS, keyed_random.key("test", 7)) == views[7]


def test_a_number_of_scales_is_a_number_of_sizes():
    """Mask2Former's sixteen shorter sides on Cityscapes."""
    settings = WeakView(canvas_hw=(512, 1024), unit="image", min_scale=0.5, max_scale=2.0, num_scales=16)
    views = [draw_view((1024, 2048), settings, keyed_random.key("test", index)) for index in range(400)]
    assert {view.resized_hw[0] for view in views} == {round(102.4 * size) for size in range(5, 21)}


@pytest.mark.parametrize("index", range(12))
def test_the_window_is_the_whole_image_resized_and_cut(index):
    image_hw = [(150, 70), (33, 47), (64, 96)][index % 3]
    pixels = noise(image_hw)
    view = draw_view(image_hw, SETTINGS, keyed_random.key("test", index))
    (rows, columns), (y0, x0) = view.valid_hw, view.origin_yx
    whole = np.asarray(Image.fromarray(pixels).resize(view.resized_hw[::-1], Image.Resampling.BILINEAR))
    whole = whole[:, ::-1] if view.flipped else whole
    canvas = apply_view(pixels, view)
    assert canvas.shape == (3, 64, 96)
    seen = canvas[:, :rows, :columns].transpose(1, 2, 0).astype(int)
    difference = np.abs(seen - whole[y0 : y0 + rows, x0 : x0 + columns])
    assert difference.max() <= 2
    assert difference.mean() < 0.05
    for channel, padding in zip(canvas, PADDING_RGB, strict=True):
        assert (channel[rows:] == padding).all()
        assert (channel[:, columns:] == padding).all()


@pytest.mark.parametrize(
    ("padding", "colour"), [("mean", PADDING_RGB), ("black", (0, 0, 0)), ("grey", (128, 128, 128))]
)
def test_a_canvas_is_padded_with_the_colour_of_the_settings(padding, colour):
    settings = WeakView(canvas_hw=(64, 64), min_scale=0.5, max_scale=0.5, padding=padding)
    row = TrainingRow(image_id="a", uri="a", instances=None)
    batch = sample(row, np.full((40, 40, 3), 200, np.uint8), settings, key=0)
    assert batch.images[0, :, -1, -1].tolist() == list(colour)


@pytest.mark.parametrize("index", range(12))
def test_masks_lie_on_their_pixels(index):
    """A white box on black, whose mask is the box: mask and pixels agree but for the resized border."""
    image_hw = [(150, 70), (33, 47), (300, 200)][index % 3]
    box = np.zeros(image_hw, dtype=bool)
    box[int(image_hw[0] * 0.23) : int(image_hw[0] * 0.71), image_hw[1] // 3 : image_hw[1] * 4 // 5] = True
    row = TrainingRow(image_id="a", uri="a", instances=Instances.from_masks(box[None], provenance="gt", classes=[3]))
    batch = sample(
        row, np.repeat(box[..., None], 3, 2).astype(np.uint8) * 255, SETTINGS, keyed_random.key("test", index)
    )
    (target,) = batch.targets
    assert target.classes.tolist() == [3]
    rows, columns = batch.views[0].valid_hw
    mask = target.masks[0, :rows, :columns]
    bright = batch.images[0, 0, :rows, :columns] >= 128
    assert (bright != mask).float().mean() < 0.02
    centres = [torch.nonzero(one).float().mean(0) for one in (bright, mask)]
    assert (centres[0] - centres[1]).abs().max() < 0.5
    assert not target.masks[0, rows:].any()


def test_padding_is_no_part_of_a_view_that_just_fits():
    view = View(image_hw=(32, 48), resized_hw=(64, 96), origin_yx=(0, 0), flipped=False, canvas_hw=(64, 96))
    pixels = noise((32, 48))
    expected = np.asarray(Image.fromarray(pixels).resize((96, 64), Image.Resampling.BILINEAR))
    assert np.array_equal(apply_view(pixels, view).transpose(1, 2, 0), expected)


@pytest.mark.parametrize("file_areas", [None, [9000.0, 0.0, 0.0]], ids=["measured", "file"])
@pytest.mark.parametrize(("min_visible", "kept"), [(0.0, [0, 1, 2]), (0.2, [0, 1]), (0.9, [0])])
def test_objects_hardly_seen_are_no_targets(min_visible, kept, file_areas):
    """Three boxes of which all, half and a tenth is on a canvas that shows the left half of the image.

    Pixels decide, not the area that an annotation file states.
    """
    masks = np.zeros((3, 64, 192), dtype=bool)
    masks[0, 10:20, 10:20] = True
    masks[1, 10:20, 86:106] = True
    masks[2, 30:40, 94:114] = True
    settings = WeakView(canvas_hw=(64, 96), min_scale=2.0, max_scale=2.0, flip=0, min_visible=min_visible)
    instances = Instances.from_masks(masks, provenance="gt", classes=[0, 1, 2], file_areas=file_areas)
    row = TrainingRow(image_id="a", uri="a", instances=instances)
    keys = (keyed_random.key("test", index) for index in range(1000))
    key = next(key for key in keys if draw_view((64, 192), settings, key).origin_yx == (0, 0))
    assert sample(row, noise((64, 192)), settings, key).targets[0].classes.tolist() == kept


@pytest.mark.parametrize("instances", [None, Instances.empty((50, 60))])
def test_nothing_known_is_an_empty_target(instances):
    batch = sample(TrainingRow(image_id="a", uri="a", instances=instances), noise((50, 60)), SETTINGS, 5)
    assert (batch.keys, batch.image_ids, batch.images.dtype) == ((5,), ("a",), torch.uint8)
    assert batch.targets[0].masks.shape == (0, 64, 96)
    assert batch.targets[0].masks.dtype == torch.bool


def test_masks_of_another_size_are_an_error():
    row = TrainingRow(image_id="a", uri="a.png", instances=Instances.empty((60, 50)))
    with pytest.raises(TrainError, match=r"a\.png: \(height, width\) \(50, 60\)"):
        sample(row, noise((50, 60)), SETTINGS, 5)
