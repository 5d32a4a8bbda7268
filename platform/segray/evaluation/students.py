"""A student on images with known masks: what it finds, gathered for AP or mIoU. Knows a `predict` callable, no model.

Several workers each take every world-th image; their parts merge to what one worker would have.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segray.config.types import ApProtocol
from segray.evaluation.instance_scores import InstanceScores
from segray.masks.instances import Instances
from segray.masks.mean_iou import MeanIou
from segray.masks.semantic import paint
from segray.storage.prefetch import map_in_order

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""
Predict = Callable[[Sequence[Pixels]], Sequence[Instances]]
"""Instances of each image at its own size: `Student.predict`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationExample:
    """An image and the truth about it."""

    image_id: str
    pixels: Pixels
    true: Instances
    """Crowds among them have provenance "gt:crowd"."""


Seen = Callable[[EvaluationExample, Instances], None]
"""Called with each image and what was found, in order."""


class EvaluationExamples(Protocol):
    """Images to be measured on, opened one at a time; from several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> EvaluationExample: ...


def measure_instances(
    predict: Predict,
    examples: EvaluationExamples,
    *,
    classes: Sequence[str],
    max_dets: int,
    protocol: ApProtocol = "coco",
    limit: int | None = None,
    rank: int = 0,
    world: int = 1,
    batch: int = 4,
    seen: Seen | None = None,
) -> InstanceScores:
    """What the student finds in this worker's share of the images.

    Args:
        predict: the student.
        examples: the images, the same on every worker.
        classes: names by class id.
        max_dets: the best of an image and class that take part.
        protocol: of average precision.
        limit: images in all, spread evenly over the examples; none: every image.
        rank: this worker.
        world: workers.
        batch: images per call of `predict`, which are held at once with a few that are opened ahead.
        seen: called with each image and what was found, in order.
    """
    gathered = InstanceScores(classes, max_dets, protocol)
    for example, found in found_in(predict, examples, limit=limit, rank=rank, world=world, batch=batch, seen=seen):
        gathered.add(example.image_id, found, example.true)
    return gathered


def measure_label_maps(
    predict: Predict,
    examples: EvaluationExamples,
    *,
    classes: Sequence[str],
    limit: int | None = None,
    rank: int = 0,
    world: int = 1,
    batch: int = 4,
    seen: Seen | None = None,
) -> MeanIou:
    """The student's maps of this worker's share of the images; arguments as of `measure_instances`.

    The truth is a label map too: what no mask of it covers is unknown.
    """
    gathered = MeanIou(classes)
    for example, found in found_in(predict, examples, limit=limit, rank=rank, world=world, batch=batch, seen=seen):
        gathered.add(paint(found), paint(example.true))
    return gathered


def found_in(
    predict: Predict,
    examples: EvaluationExamples,
    *,
    limit: int | None,
    rank: int,
    world: int,
    batch: int,
    seen: Seen | None,
) -> Iterator[tuple[EvaluationExample, Instances]]:
    """Each image of this worker's share and what the student finds in it; arguments as of `measure_instances`."""
    opened = map_in_order(examples.__getitem__, evenly_spread(len(examples), limit)[rank::world])
    while chunk := list(islice(opened, batch)):
        for example, found in zip(chunk, predict([one.pixels for one in chunk]), strict=True):
            yield example, found
            if seen is not None:
                seen(example, found)


def evenly_spread(number: int, limit: int | None) -> list[int]:
    """Which of `number` images stand for all: `limit` of them, evenly spread; the same ones every time."""
    if limit is None or limit >= number:
        return list(range(number))
    return [index * number // limit for index in range(limit)]
