"""Boxes and points to masks, of many images at once: one mask for each object. Knows any `Sam`; knows no file.

Prompts of all images go through the decoder together, in batches that shrink when memory runs out; masks come to full
size a few at a time, so that an image with thousands of boxes stays within memory.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from segray.config.sam import PromptedMasksSettings
from segray.keyed_random import rng
from segray.masks import rle
from segray.masks.geometry import Boxes
from segray.masks.instances import REVIEW, Instances
from segray.masks.object_prompts import NO_POINT, ON, ObjectPrompts
from segray.masks.provenance import Provenance
from segray.nets.batching import ShrinkingBatches, memory_errors
from segray.sam.mask_generation.filters import full_size, remove_small_regions, stability_scores
from segray.sam.protocol import (
    BOX_LOWER_RIGHT,
    BOX_UPPER_LEFT,
    NEGATIVE,
    POSITIVE,
    Embedding,
    Image,
    Prompts,
    Sam,
)

PREDICTED_IOU = "predicted_iou"
"""Attribute of a mask whose score is that of whoever found the object."""


@dataclass(frozen=True, kw_only=True)
class _Ask:
    """P prompts over the images of a batch, of one shape, and the object that each is for."""

    image_index: npt.NDArray[np.int64]
    object_index: npt.NDArray[np.int64]
    """(P,) place of the object in its image; several prompts may be for one."""
    points_xy: npt.NDArray[np.float32]
    """(P, K, 2)."""
    labels: npt.NDArray[np.int64]
    """(P, K)."""


@dataclass(kw_only=True)
class _Found:
    """What was found for the objects of one image."""

    counts: list[rle.Counts | None]
    scores: npt.NDArray[np.float32]
    """(N,) predicted IoU; -1 where nothing was found yet."""
    stabilities: npt.NDArray[np.float32]
    """(N,)."""


class PromptedMasks:
    """One mask for each object that a box, points or both point at."""

    def __init__(self, sam: Sam, settings: PromptedMasksSettings, prompts_per_batch: int | None = None) -> None:
        """Decode `prompts_per_batch` prompts at once; by default as many as suit model and device."""
        self.sam, self.settings = sam, settings
        self.batches = ShrinkingBatches(prompts_per_batch or sam.prompts_at_once)

    @memory_errors()
    def generate(self, images: Sequence[tuple[Image, ObjectPrompts]]) -> list[Instances]:
        """Return the masks of each image's objects, in the objects' order.

        Args:
            images: pixels (H, W, 3) RGB, and prompts that fit them (`masks.object_prompts.fit`).

        Returns:
            One mask for each object. `scores` are those of the prompts where they have some, and predicted IoUs else;
            classes, ids and attributes are the prompts'. Where the model is unsure, the mask of an object with a box is
            the box, and the attribute `review` says what spoke against the model's mask.

        Raises:
            MemoryError: so many images at once, or one prompt, do not fit.
        """
        found = [_nothing(len(prompts)) for _, prompts in images]
        asked = [index for index, (_, prompts) in enumerate(images) if len(prompts)]
        if asked:
            embedding = self.sam.embed([images[index][0] for index in asked])
            for ask in self._asks([images[index][1] for index in asked]):
                for part in self.batches.map(len(ask.image_index), partial(self._decode, embedding, ask)):
                    for place, object_index, counts, score, stability in part:
                        _keep_best(found[asked[place]], object_index, counts, score, stability)
        return [
            self._instances(one, prompts, (pixels.shape[0], pixels.shape[1]))
            for one, (pixels, prompts) in zip(found, images, strict=True)
        ]

    def _asks(self, prompts: Sequence[ObjectPrompts]) -> list[_Ask]:
        """Return the prompts of all images by shape: with a box or without, and by their number of points.

        A model sees padding as a prompt of its own, so prompts of different shapes are not padded to one.
        """
        groups: dict[tuple[bool, int], list[_Ask]] = {}
        for image, one in enumerate(prompts):
            num_points = (one.point_labels != NO_POINT).sum(axis=1)
            for shape in sorted(set(zip(one.has_box.tolist(), num_points.tolist(), strict=True))):
                objects = np.flatnonzero((one.has_box == shape[0]) & (num_points == shape[1]))
                groups.setdefault(shape, []).extend(self._asks_of(image, one, objects, *shape))
        return [_joined(parts) for parts in groups.values()]

    def _asks_of(
        self,
        image: int,
        prompts: ObjectPrompts,
        objects: npt.NDArray[np.int64],
        with_box: bool,
        num_points: int,
    ) -> list[_Ask]:
        """Return the prompts of one image's objects of one shape, and those with moved boxes."""
        # The first points of a row are the given ones.
        points = prompts.points_xy[objects, :num_points].astype(np.float32)
        labels = np.where(prompts.point_labels[objects, :num_points] == ON, POSITIVE, NEGATIVE)
        boxes = prompts.boxes_xyxy[objects].astype(np.float32)
        return [
            _Ask(
                image_index=np.full(len(objects), image),
                object_index=objects,
                points_xy=np.concatenate([points, each.reshape(-1, 2, 2)], axis=1) if with_box else points,
                labels=np.concatenate([labels, _corners(len(objects))], axis=1) if with_box else labels,
            )
            for each in ([boxes, *self._moved(boxes, prompts)] if with_box else [boxes])
        ]

    def _moved(self, boxes: Boxes, prompts: ObjectPrompts) -> list[Boxes]:
        """Return copies of the boxes whose sides are moved at random by a share of the box's size."""
        size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        draws = rng("moved boxes", len(boxes)).uniform(-1, 1, (self.settings.num_moved_boxes, *boxes.shape))
        height, width = prompts.size_hw or (np.inf, np.inf)
        moved = boxes + draws * self.settings.box_jitter * size
        return [np.clip(one, 0, [width, height, width, height]).astype(np.float32) for one in moved]

    def _decode(self, embedding: Embedding, ask: _Ask, part: slice) -> list[tuple[int, int, rle.Counts, float, float]]:
        """Return (image, object, run lengths, predicted IoU, stability) of some prompts."""
        image_index = ask.image_index[part]
        prompts = Prompts(
            image_index=torch.from_numpy(image_index),
            points_xy=torch.from_numpy(ask.points_xy[part]),
            labels=torch.from_numpy(ask.labels[part]),
            multimask=self.settings.multimask,
        )
        decoded = self.sam.decode(embedding, prompts)
        scores, best = decoded.scores.max(dim=1)
        keep = torch.arange(len(best), device=best.device) * decoded.scores.shape[1] + best
        logits = self.sam.logits(decoded, keep)
        found = []
        for image in np.unique(image_index):
            rows = np.flatnonzero(image_index == image)
            of_image = logits[torch.from_numpy(rows).to(logits.device)]
            for start, columns in full_size(self.sam, of_image, embedding.sizes_hw[image]):
                stable = stability_scores(columns, self.sam.mask_threshold, self.settings.stability_score_offset)
                counts = rle.encode((columns > self.sam.mask_threshold).mT.cpu().numpy())
                for offset, (one, stability) in enumerate(zip(counts, stable.tolist(), strict=True)):
                    row = rows[start + offset]
                    index = int(ask.object_index[part][row])
                    found.append((int(image), index, one, float(scores[row]), stability))
        return found

    def _instances(self, found: _Found, prompts: ObjectPrompts, size_hw: tuple[int, int]) -> Instances:
        """Return an image's masks: mended, judged, and with boxes in the place of those that are doubted."""
        if not len(prompts):
            return Instances.empty(size_hw)
        counts = [self._mended(one, size_hw) for one in found.counts]
        reasons = self._doubts(rle.boxes_xyxy(counts, size_hw), found, prompts)
        boxed = prompts.has_box & np.array([bool(reason) for reason in reasons])
        for index in np.flatnonzero(boxed):
            counts[index] = _box_mask(prompts.boxes_xyxy[index], size_hw)
        given = ~np.isnan(prompts.scores)
        sam = f"{Provenance.SAM}:{self.sam.name}"
        first = prompts.points_xy[:, 0] if prompts.points_xy.shape[1] else np.full((len(prompts), 2), np.nan)
        return Instances.from_rle(
            counts,
            size_hw,
            provenance=[Provenance.BOX if is_box else sam for is_box in boxed],
            scores=np.where(given, prompts.scores, found.scores),
            classes=prompts.classes,
            stabilities=found.stabilities,
            points_xy=first,
            ids=prompts.ids,
            attributes=[
                _attributes(text, reason, float(score) if known else None)
                for text, reason, score, known in zip(prompts.attributes, reasons, found.scores, given, strict=True)
            ],
        )

    def _mended(self, counts: rle.Counts | None, size_hw: tuple[int, int]) -> rle.Counts:
        """Return a mask without small holes and specks."""
        assert counts is not None, "every object is asked for"
        if not self.settings.min_mask_region_area:
            return counts
        mask, changed = remove_small_regions(rle.decode([counts], size_hw)[0], self.settings.min_mask_region_area)
        return rle.encode(mask[None])[0] if changed else counts

    def _doubts(self, boxes_xyxy: Boxes, found: _Found, prompts: ObjectPrompts) -> list[str]:
        """Return what speaks against each mask; empty where nothing does."""
        bounds = self.settings
        agreement = _same_box_iou(boxes_xyxy, prompts.boxes_xyxy)
        tests = {
            f"predicted IoU below {bounds.min_predicted_iou:g}": found.scores < bounds.min_predicted_iou,
            f"stability below {bounds.min_stability:g}": ~(found.stabilities >= bounds.min_stability),
            f"mask and box agree by less than {bounds.min_box_agreement:g}": agreement < bounds.min_box_agreement,
        }
        return [next((reason for reason, failed in tests.items() if failed[row]), "") for row in range(len(prompts))]


def _nothing(number: int) -> _Found:
    return _Found(
        counts=[None] * number,
        scores=np.full(number, -1, np.float32),
        stabilities=np.full(number, np.nan, np.float32),
    )


def _keep_best(found: _Found, index: int, counts: rle.Counts, score: float, stability: float) -> None:
    """Keep the mask with the best predicted IoU of all that were asked for an object."""
    if found.counts[index] is None or score > found.scores[index]:
        found.counts[index], found.scores[index], found.stabilities[index] = counts, score, stability


def _joined(parts: Sequence[_Ask]) -> _Ask:
    """Return several prompts of one shape as one."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _Ask.__dataclass_fields__}
    return _Ask(**columns)


def _corners(number: int) -> npt.NDArray[np.int64]:
    return np.tile(np.array([BOX_UPPER_LEFT, BOX_LOWER_RIGHT]), (number, 1))


def _box_mask(box: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> rle.Counts:
    """Return the pixels of a box, at least one."""
    x0, y0 = np.minimum(np.floor(box[:2]), [size_hw[1] - 1, size_hw[0] - 1]).astype(int)
    x1, y1 = np.maximum(np.ceil(box[2:]), [x0 + 1, y0 + 1]).astype(int)
    mask = np.zeros((1, *size_hw), bool)
    mask[0, y0:y1, x0:x1] = True
    return rle.encode(mask)[0]


def _same_box_iou(first: Boxes, second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the IoU of the boxes of each row: (N,), NaN where the second has none."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    areas = [(one[:, 2:] - one[:, :2]).prod(axis=1) for one in (first, second)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9))


def _attributes(text: str, reason: str, predicted_iou: float | None) -> str:
    """Return an object's attributes with what the model adds, as text."""
    added: dict[str, Any] = {PREDICTED_IOU: round(predicted_iou, 4)} if predicted_iou is not None else {}
    added |= {REVIEW: reason} if reason else {}
    return json.dumps({**(json.loads(text) if text else {}), **added}, ensure_ascii=False) if text or added else ""
