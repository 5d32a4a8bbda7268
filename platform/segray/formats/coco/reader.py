"""COCO instance JSON: images by file name, masks from polygons and both kinds of run lengths.

Classes are the categories' names by rising category id; categories of one name are one class. Annotations that cover
no pixel, or whose segmentation is broken, are left out and counted as damage. What COCO calls a crowd (`iscrowd` 1:
many objects under one mask) is no instance: it is left out and counted, or has provenance "gt:crowd" where it is asked
for; with `crowds = "masks"` it is a mask like any other. So it is in segray's own exports, which say by `provenance`
what is a crowd: CVAT's form of them has `iscrowd` 1 for every mask with a hole. Knows no images.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from segray.errors import SourceError
from segray.formats.coco import CocoSource
from segray.formats.coco.document import read_document
from segray.formats.coco.ids import CocoIds
from segray.formats.coco.prompts import prompts_of
from segray.formats.coco.segmentations import (
    NO_PIXEL,
    SOME_TOO_SHORT,
    BrokenSegmentationError,
    decode,
    has_short_polygon,
)
from segray.formats.source import rows_by_name
from segray.masks import rle
from segray.masks.instances import CROWD, Instances
from segray.masks.object_prompts import ObjectPrompts
from segray.masks.provenance import Provenance
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

LEFT_OUT = Reason("crowd", 'have iscrowd 1 and are left out; `crowds = "masks"` takes them')
REPEATED = Reason("repeated", "have an id that another one has")
TAKEN = Reason("crowd", "have iscrowd 1 and are taken as masks")
MAKERS: Final = frozenset(word for name, word in vars(Provenance).items() if name.isupper())
_MOST_PIXELS = 1 << 32
"""What COCO's run lengths can count."""


class CocoImages:
    """The images that a COCO file lists, under its folder; ids are file names."""

    def __init__(self, config: CocoSource) -> None:
        """Read and check the file.

        Raises:
            SourceError: not COCO; one line per problem.
        """
        self._folder, self._uri, self._crowds_are_masks = config.uri, config.annotations, config.crowds == "masks"
        self._outside, self.tally = config.outside, Tally()
        self.document = document = read_document(self._uri)
        """The file's content."""
        categories = sorted(document.get("categories", []), key=lambda category: category["id"])
        self.classes: tuple[str, ...] = tuple(dict.fromkeys(category["name"] for category in categories))
        self._class_ids = {category["id"]: self.classes.index(category["name"]) for category in categories}
        self._images = {image["file_name"]: image for image in document["images"]}
        numbers = Counter(str(one["id"]) for one in document.get("annotations", []) if one.get("id") is not None)
        self._repeated = {one for one, number in numbers.items() if number > 1}
        self._annotations: dict[str, list[dict[str, Any]]] = {}
        names = {image["id"]: image["file_name"] for image in document["images"]}
        for annotation in document.get("annotations", []):
            self._annotations.setdefault(names[annotation["image_id"]], []).append(annotation)

    @property
    def annotated(self) -> Iterable[str]:
        """The images that the file speaks of: all that it lists."""
        return self._images.keys()

    def aliases(self, image_id: str) -> Iterable[str]:
        """See `KnowsAliases`: the image's id in the file."""
        return (str(self._images[image_id]["id"]),)

    @property
    def coco_ids(self) -> CocoIds:
        """See `KnowsCocoIds`; of several categories of one name, the first one's."""
        images = {name: image["id"] for name, image in self._images.items()}
        categories: dict[str, int] = {}
        for category_id, class_id in self._class_ids.items():
            categories.setdefault(self.classes[class_id], category_id)
        return CocoIds(
            images={name: int(number) for name, number in images.items() if _is_number(number)},
            categories={name: int(number) for name, number in categories.items() if _is_number(number)},
        )

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`; in the file's order."""
        yield from rows_by_name(self._folder, {name: name for name in self._images}, outside=self._outside)

    def instances(
        self, image_id: str, *, crowds: bool = False, size_hw: tuple[int, int] | None = None
    ) -> Instances | None:
        """See `AnnotatedSource`; an image without annotations has an empty result."""
        image = self._images.get(image_id)
        if image is None:
            return None
        size_hw = _size(image) or size_hw
        if size_hw is None:
            raise SourceError(f"{self._uri}: image {image_id!r} has no usable height and width")
        tally, chosen = self.tally.once(image_id), []
        for annotation in self._annotations.get(image_id, []):
            name = _name(annotation, image_id)
            is_mask = self._is_mask(annotation, name, tally)
            # Crowds count as left out already, whatever evaluation does with them.
            counted = tally if is_mask else Tally()
            if (is_mask or crowds) and (counts := _counts(annotation, name, size_hw, counted)) is not None:
                if str(annotation.get("id")) in self._repeated:
                    counted.note("annotations", REPEATED, name)
                chosen.append((annotation, counts, Provenance.GT if is_mask else CROWD))
        return Instances.from_rle(
            [counts for _, counts, _ in chosen],
            size_hw,
            provenance=[provenance for *_, provenance in chosen],
            classes=[self._class_ids[annotation["category_id"]] for annotation, *_ in chosen],
            ids=[str(annotation.get("source_id", annotation.get("id", ""))) for annotation, *_ in chosen],
            attributes=[_attributes(annotation) for annotation, *_ in chosen],
            file_areas=[_area(annotation) for annotation, *_ in chosen],
        )

    def prompts(self, image_id: str) -> ObjectPrompts | None:
        """See `PromptedSource`: boxes, crowds left out."""
        image = self._images.get(image_id)
        if image is None:
            return None
        tally, annotations = self.tally.once(f"prompts of {image_id}"), self._annotations.get(image_id, [])
        chosen = [one for one in annotations if self._is_mask(one, _name(one, image_id), tally)]
        tally.use("annotations", len(chosen))
        return prompts_of(chosen, self._class_ids, _size(image))

    def is_crowd(self, annotation: Mapping[str, Any]) -> bool:
        """Return whether an annotation of the file is a region of many objects and no mask."""
        return bool(annotation.get("iscrowd")) and not (self._crowds_are_masks or _is_our_mask(annotation))

    def _is_mask(self, annotation: Mapping[str, Any], name: str, tally: Tally) -> bool:
        """Return whether an annotation is a mask and not a crowd, and count what has `iscrowd` 1."""
        if self.is_crowd(annotation):
            tally.leave_out("annotations", LEFT_OUT, name)
            return False
        if annotation.get("iscrowd"):
            tally.note("annotations", TAKEN, name)
        return True


def _attributes(annotation: Mapping[str, Any]) -> str:
    """Return an annotation's attributes, as CVAT and segray's exports write them, as text."""
    given = annotation.get("attributes")
    return json.dumps(given, ensure_ascii=False) if isinstance(given, dict) and given else ""


def _area(annotation: Mapping[str, Any]) -> float:
    """Return the area that the file gives, by which pycocotools tells small objects from large ones; NaN for none."""
    area = annotation.get("area")
    if not isinstance(area, int | float) or isinstance(area, bool):
        return math.nan
    return float(area) if 0 <= area < _MOST_PIXELS else math.nan


def _name(annotation: Mapping[str, Any], image_id: str) -> str:
    return f"annotation {annotation.get('id')!r} of {image_id!r}"


def _counts(annotation: Mapping[str, Any], name: str, size_hw: tuple[int, int], tally: Tally) -> rle.Counts | None:
    """Decode one mask; None, counted as damage, where it is broken or covers no pixel."""
    segmentation = annotation.get("segmentation")
    try:
        found = decode(segmentation, size_hw)
    except BrokenSegmentationError as error:
        tally.leave_out("annotations", error.reason, f"{name}: {error.detail}" if error.detail else name)
        return None
    if not rle.areas([found], size_hw)[0]:
        tally.leave_out("annotations", NO_PIXEL, name)
        return None
    tally.use("annotations")
    if has_short_polygon(segmentation):
        tally.note("annotations", SOME_TOO_SHORT, name)
    return found


def _is_number(value: object) -> bool:
    """Return whether an id is a whole number, or text that says one."""
    return isinstance(value, int) or (isinstance(value, str) and value.isdecimal())


def _is_our_mask(annotation: Mapping[str, Any]) -> bool:
    """Return whether one of segray's own exports wrote this annotation, of a mask."""
    made = annotation.get("provenance")
    return isinstance(made, str) and made != CROWD and made.partition(":")[0] in MAKERS


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) <= 0:
        return None
    return (height, width) if height * width < _MOST_PIXELS else None
