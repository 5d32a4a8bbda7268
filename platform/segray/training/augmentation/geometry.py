"""Geometry of training: which part of an image a canvas shows, and the image and its masks there.

Pixels are resized with an antialiased linear filter, masks by the same pixel centres (`View.masks`). Knows no files.
Runs in loader threads and processes: no torch operation here is worth a thread.
"""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from segray import keyed_random
from segray.config.views import WeakView
from segray.datasets.training_rows import TrainingRow
from segray.errors import TrainError
from segray.losses.criterion import Targets
from segray.masks.instances import Instances
from segray.masks.view import View
from segray.models.preprocessing import PADDING_RGB
from segray.training.augmentation.batch import Batch
from segray.training.augmentation.ssd_jitter import SsdJitter, draw_ssd_jitter

Pixels = npt.NDArray[np.uint8]
_PADDING = {"mean": PADDING_RGB, "black": (0, 0, 0), "grey": (128, 128, 128)}


def draw_view(image_hw: tuple[int, int], settings: WeakView, key: int) -> View:
    """Draw scale, window and mirroring of an image on its canvas uniformly (docs/methods/mask2former.md#weak-view)."""
    rng = keyed_random.rng(key, "view")
    (height, width), (rows, columns) = image_hw, settings.canvas_hw
    unit = min(rows / height, columns / width) if settings.unit == "canvas" else 1.0
    scale = _scale(settings, rng) * unit
    resized = max(1, round(height * scale)), max(1, round(width * scale))
    y0, x0 = (int(rng.integers(max(0, side - own) + 1)) for side, own in zip(resized, settings.canvas_hw, strict=True))
    return View(
        image_hw=image_hw,
        resized_hw=resized,
        origin_yx=(y0, x0),
        flipped=bool(rng.random() < settings.flip),
        canvas_hw=settings.canvas_hw,
    )


def _scale(settings: WeakView, rng: np.random.Generator) -> float:
    smallest, largest, number = settings.min_scale, settings.max_scale, settings.num_scales
    if number is None:
        return float(rng.uniform(smallest, largest))
    return float(np.linspace(smallest, largest, number)[rng.integers(number)])


def apply_view(
    pixels: Pixels,
    view: View,
    padding: tuple[int, int, int] = PADDING_RGB,
    jitter: SsdJitter | None = None,
) -> Pixels:
    """An image (H, W, 3) on its canvas (3, rows, columns), padded with a colour; only what is seen is resized."""
    (height, width), (y0, x0) = view.valid_hw, view.origin_yx
    x0 = view.resized_hw[1] - x0 - width if view.flipped else x0
    down, across = (own / side for own, side in zip(view.image_hw, view.resized_hw, strict=True))
    box = (
        x0 * across,
        y0 * down,
        min((x0 + width) * across, view.image_hw[1]),
        min((y0 + height) * down, view.image_hw[0]),
    )
    seen = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box))
    seen = jitter.apply(seen) if jitter is not None else seen
    canvas = np.empty((*view.canvas_hw, 3), dtype=np.uint8)
    canvas[:] = padding
    canvas[:height, :width] = seen[:, ::-1] if view.flipped else seen
    return np.ascontiguousarray(canvas.transpose(2, 0, 1))


def sample(row: TrainingRow, pixels: Pixels, settings: WeakView, key: int) -> Batch:
    """A batch of one: the image as `key` draws its view, with its masks there; none where nothing is known.

    Raises:
        TrainError: the image is not of the size that its masks are for.
    """
    image_hw = (pixels.shape[0], pixels.shape[1])
    instances = row.instances if row.instances is not None else Instances.empty(image_hw)
    if instances.size_hw != image_hw:
        raise TrainError(
            f"{row.uri}: (height, width) {image_hw}, its masks are for {instances.size_hw}: mend the annotations"
        )
    view = draw_view(image_hw, settings, key)
    jitter = draw_ssd_jitter(key) if settings.colour_jitter == "ssd" else None
    return Batch(
        image_ids=(row.image_id,),
        keys=(key,),
        images=torch.from_numpy(apply_view(pixels, view, _PADDING[settings.padding], jitter))[None],
        views=(view,),
        targets=(_targets(instances, view, settings.min_visible),),
    )


def _targets(instances: Instances, view: View, min_visible: float) -> Targets:
    """What of the masks is on the canvas; without those of which less than a share of the resized area is."""
    masks, indices = view.masks(instances)
    classes = instances.classes[indices].astype(np.int64)
    if min_visible > 0:
        (height, width), (rows, columns) = view.image_hw, view.resized_hw
        whole = instances.areas[indices] * (rows * columns) / (height * width)
        kept = masks.sum(axis=(1, 2)) >= min_visible * whole
        masks, classes = masks[kept], classes[kept]
    return Targets(classes=torch.from_numpy(classes), masks=torch.from_numpy(masks))
