"""What was found, as COCO's results format has it: numbers of images and categories as in the annotation file.

Whatever reads an annotation file together with such results, as pycocotools' `loadRes` does, then finds its own
numbers. Where the truth is no COCO file, the numbers are those that an export of it writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from segray.formats.tally import image_number
from segray.masks.instances import Instances


@dataclass(frozen=True, kw_only=True)
class CocoIds:
    """Numbers by which a COCO file knows its images and categories."""

    images: Mapping[str, int] = field(default_factory=dict)
    """By image id, which is the file's name."""
    categories: Mapping[str, int] = field(default_factory=dict)
    """By the category's name."""


@runtime_checkable
class KnowsCocoIds(Protocol):
    """A source of a COCO file, or around one."""

    @property
    def coco_ids(self) -> CocoIds:
        """Return the file's numbers; none where there is no such file."""
        ...


def coco_ids_of(source: object) -> CocoIds:
    """Return a source's numbers; none where it knows none."""
    return source.coco_ids if isinstance(source, KnowsCocoIds) else CocoIds()


def coco_results(image_id: str, found: Instances, classes: Sequence[str], ids: CocoIds) -> list[dict[str, Any]]:
    """Return the entries of one image, best first as they are found.

    Args:
        image_id: names the image.
        found: what was found on it, of classes that have names.
        classes: names by class id.
        ids: the annotation file's numbers. An image that it does not have gets the number of segray's exports, a class
            that it does not have its place in `classes`, counted from 1, behind the file's own.
    """
    height, width = found.size_hw
    beyond = max(ids.categories.values(), default=0)
    return [
        {
            "image_id": ids.images.get(image_id, image_number(image_id)),
            "category_id": ids.categories.get(classes[class_id], beyond + class_id + 1),
            "segmentation": {"size": [height, width], "counts": counts.decode("ascii")},
            "score": float(score),
            "file_name": image_id,
            "category": classes[class_id],
        }
        for counts, score, class_id in zip(found.counts, found.scores, found.classes.tolist(), strict=True)
    ]
