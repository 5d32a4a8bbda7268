"""The base of students of instances: preprocessing, and from query logits to `Instances`.

Cheng et al. 2022 (arXiv 2112.01527), instance inference of the released code: the best (query, class) pairs, mask where
the logit is positive at the image's own size, score = class probability x mean mask probability inside the mask. Knows
no network. Memory is bounded: few images and few full-size masks are dense at a time, whatever the number of either.
"""

from collections.abc import Sequence
from math import ceil, floor, prod
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from segray.config import students as config
from segray.losses.set_loss import SetCriterion
from segray.masks import rle
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.masks.tiles import cut, join
from segray.masks.view import View
from segray.models.preprocessing import PADDING_RGB, ImageNetStudent, inference
from segray.models.student import Pixels, QueryOutput

MULTIPLE: Final = 32
"""Sides of a canvas are multiples of this: the coarsest stride."""
_IMAGES_AT_ONCE: Final = 8
_PIXELS_AT_ONCE: Final = 1 << 24
"""Of full-size masks, float32: 64 MB and its like for the probabilities."""


class InstanceStudent(ImageNetStudent):
    """A student of instances: its forward returns `QueryOutput`, its loss matches queries to objects."""

    adaptable = (*ImageNetStudent.adaptable, "queries_embedder.", "queries_features.")
    square_canvas: ClassVar[bool] = False
    """Whether images are predicted on square canvases."""
    settings: config.InstanceStudentConfig
    criterion: SetCriterion

    def __init__(self, settings: config.InstanceStudentConfig, classes: tuple[str, ...]) -> None:
        super().__init__(settings, classes)
        self.preprocessing |= {"padding": "right and below", "padding_rgb": PADDING_RGB}
        self.criterion = SetCriterion(
            num_classes=len(classes),
            num_queries=settings.num_queries,
            class_weight=settings.class_weight,
            mask_weight=settings.mask_weight,
            dice_weight=settings.dice_weight,
            no_object_weight=settings.no_object_weight,
            num_points=settings.num_points,
            oversample_ratio=settings.oversample_ratio,
            importance_sample_ratio=settings.importance_sample_ratio,
        )

    def predict(self, images: Sequence[Pixels]) -> list[Instances]:
        """See `Student.predict`. An image's instances do not depend on which others come with it."""
        tiles = self.settings.predict.tiles
        with inference(self):
            if tiles is None:
                return self._whole(images)
            return [self._tiled(one) if max(one.shape[:2]) > tiles.size else self._whole([one])[0] for one in images]

    def _tiled(self, image: Pixels) -> Instances:
        """Instances of a large image; parts that its tiles cut are joined class by class."""
        tiles = self.settings.predict.tiles
        assert tiles is not None
        size_hw = (image.shape[0], image.shape[1])
        pieces = cut(size_hw, tiles)
        parts = self._whole([image[t.y0 : t.y1, t.x0 : t.x1] for t in pieces])
        found = [Instances.empty(size_hw)]
        for class_id in range(len(self.classes)):
            of_class = [part.filter(part.classes == class_id) for part in parts]
            joined = join(of_class, pieces, size_hw, tiles)
            found.append(joined.nms(tiles.merge_iou) if tiles.merge == "nms" else joined)
        everything = Instances.cat(found)
        return everything.filter(np.argsort(-everything.scores, kind="stable")[: self.settings.predict.top_k])

    def _whole(self, images: Sequence[Pixels]) -> list[Instances]:
        """Instances of images, those that fill canvases of one size together."""
        views = [self._view((image.shape[0], image.shape[1])) for image in images]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, view in enumerate(views):
            groups.setdefault(view.canvas_hw, []).append(index)
        found: dict[int, Instances] = {}
        for group in groups.values():
            for start in range(0, len(group), _IMAGES_AT_ONCE):
                few = group[start : start + _IMAGES_AT_ONCE]
                parts = self._few([images[index] for index in few], [views[index] for index in few])
                found.update(zip(few, parts, strict=True))
        return [found[index] for index in range(len(images))]

    def _view(self, image_hw: tuple[int, int]) -> View:
        settings = self.settings
        return whole_view(image_hw, settings.predict, multiple=settings.multiple, square=self.square_canvas)

    def _few(self, images: Sequence[Pixels], views: Sequence[View]) -> list[Instances]:
        """Instances of images whose canvases have one size."""
        canvases = torch.stack([_canvas(image, view) for image, view in zip(images, views, strict=True)])
        output: QueryOutput = self(canvases.to(self.mean.device))
        logits = zip(output.class_logits[-1].float(), output.mask_logits[-1].float(), views, strict=True)
        return [instances(classes, masks, view, self.settings.predict) for classes, masks, view in logits]


def instances(class_logits: Tensor, mask_logits: Tensor, view: View, settings: config.InstancePredict) -> Instances:
    """The instances of one image, best first.

    Args:
        class_logits: (Q, K + 1), the last class "no object".
        mask_logits: (Q, h, w) over the canvas.
        view: how the whole image lies in the upper left of its canvas.
        settings: how many are kept, and from which score.
    """
    num_classes = class_logits.shape[1] - 1
    chances = class_logits.softmax(-1)[:, :-1].flatten()
    best, pairs = chances.topk(min(settings.top_k, len(chances)))
    queries, rows = torch.unique(pairs // num_classes, return_inverse=True)
    counts, certainties = _at_full_size(mask_logits[queries], view)
    scores = (best * certainties[rows]).cpu().numpy()
    found = Instances.from_rle(
        [counts[row] for row in rows.tolist()],
        view.image_hw,
        provenance=Provenance.STUDENT,
        scores=scores,
        classes=(pairs % num_classes).cpu().numpy(),
    )
    order = np.argsort(-scores, kind="stable")
    return found.filter(order[(found.areas[order] > 0) & (scores[order] >= settings.score_threshold)])


def _at_full_size(logits: Tensor, view: View) -> tuple[list[rle.Counts], Tensor]:
    """Masks at the image's size, and each one's mean probability inside itself (0 where empty).

    Only the part of the image in which a logit can be positive is made at full size: a photo of a phone has a hundred
    times the pixels of the objects on it.
    """
    rows, columns = view.valid_hw
    at_once = max(1, _PIXELS_AT_ONCE // prod(view.canvas_hw))
    counts: list[rle.Counts] = []
    certainties = []
    for few in torch.split(logits, at_once):
        on_canvas = F.interpolate(few[None], size=view.canvas_hw, mode="bilinear")[0, :, :rows, :columns]
        for mask, region in zip(on_canvas, _positive_regions(on_canvas, view.image_hw), strict=True):
            found, certainty = _in_region(mask, region, view.image_hw)
            counts.append(found)
            certainties.append(certainty)
    return counts, torch.stack(certainties)


def _positive_regions(masks: Tensor, size_hw: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the rows and columns of the image in which each of the masks (N, h, w) can be positive."""
    inside = masks > 0
    reach = [_reach(inside.any(dim).cpu().numpy(), size) for dim, size in zip((2, 1), size_hw, strict=True)]
    return list(zip(*reach, strict=True))


def _reach(positive: npt.NDArray[np.bool_], size: int) -> list[slice]:
    """Return the pixels of a side of length `size` that positive ones of the n below it (N, n) reach."""
    scale = size / positive.shape[1]
    found = []
    for line in positive:
        places = np.flatnonzero(line)
        first, last = (places[0], places[-1]) if len(places) else (0, -2)
        # A pixel between a positive one and its neighbour may be positive too.
        start, stop = floor((first - 0.5) * scale - 0.5), ceil((last + 1.5) * scale - 0.5) + 1
        found.append(slice(max(0, start), max(0, min(size, stop))))
    return found


def _in_region(mask: Tensor, region: tuple[slice, slice], size_hw: tuple[int, int]) -> tuple[rle.Counts, Tensor]:
    """Return a mask (h, w) of logits at the image's size as run lengths, made in a region, and its mean probability."""
    full = _resized(mask, region, size_hw)
    inside = full > 0
    certainty = (full.sigmoid_() * inside).sum() / inside.sum().clamp(min=1)
    counts = rle.encode(inside[None].cpu().numpy())[0]
    shape_hw = (inside.shape[0], inside.shape[1])
    return rle.place(counts, shape_hw, (region[1].start, region[0].start), size_hw), certainty


def _resized(mask: Tensor, region: tuple[slice, slice], size_hw: tuple[int, int]) -> Tensor:
    """Return the region of what `F.interpolate(mask, size_hw, mode="bilinear")` would make of the whole mask."""
    left, right, share = _neighbours(mask.shape[1], size_hw[1], region[1], mask)
    wide = torch.lerp(mask[:, left], mask[:, right], share)
    above, below, share = _neighbours(mask.shape[0], size_hw[0], region[0], mask)
    return torch.lerp(wide[above], wide[below], share[:, None])


def _neighbours(size: int, wanted: int, part: slice, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each pixel of a part of a resized side the two pixels it lies between, and the second one's share."""
    places = torch.arange(part.start, part.stop, device=like.device, dtype=like.dtype)
    places = ((places + 0.5) * (size / wanted) - 0.5).clamp(min=0)
    first = places.floor().long().clamp(max=size - 1)
    return first, (first + 1).clamp(max=size - 1), places - first


def whole_view(
    image_hw: tuple[int, int], settings: config.InstancePredict, *, multiple: int = MULTIPLE, square: bool = False
) -> View:
    """Return the view of the whole image at the size of the settings, on the smallest canvas that holds it.

    A square canvas has the side of the settings, whatever the image.
    """
    scale = settings.side / max(image_hw)
    if settings.shorter_side is not None:
        scale = min(scale, settings.shorter_side / min(image_hw))
    height, width = (max(1, round(length * scale)) for length in image_hw)
    sides = (settings.side, settings.side) if square else (height, width)
    canvas_hw = -(-sides[0] // multiple) * multiple, -(-sides[1] // multiple) * multiple
    return View(image_hw=image_hw, resized_hw=(height, width), origin_yx=(0, 0), flipped=False, canvas_hw=canvas_hw)


def _canvas(image: Pixels, view: View) -> Tensor:
    """(3, H, W) uint8: the image resized into the upper left of its canvas."""
    rows, columns = view.valid_hw
    canvas = torch.tensor(PADDING_RGB, dtype=torch.uint8).view(3, 1, 1).repeat(1, *view.canvas_hw)
    pixels = torch.tensor(image).permute(2, 0, 1)[None]
    canvas[:, :rows, :columns] = F.interpolate(pixels, size=(rows, columns), mode="bilinear", antialias=True)[0]
    return canvas
