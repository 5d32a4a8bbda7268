"""COCO instance JSON: images by file name, masks from polygons and both kinds of run lengths.

Classes are the categories' names by rising category id; categories of one name are one class. Annotations that cover
no pixel are left out with a warning. What COCO calls a crowd (`iscrowd` 1: many objects under one mask) is no instance
and is left out unless asked for; it then has provenance "gt:crowd". Knows no images.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from segray.errors import SourceError
from segray.formats.coco import CocoSource
from segray.formats.source import name_problem, read_json, refuse, rows_by_name
from segray.masks import rle
from segray.masks.instances import CROWD, Instances
from segray.masks.provenance import Provenance
from segray.store.rows import ImageRow

_log = logging.getLogger(__name__)
_MOST_PIXELS = 1 << 32
"""What COCO's run lengths can count."""


class CocoImages:
    """The images that a COCO file lists, under its folder; ids are file names."""

    def __init__(self, config: CocoSource) -> None:
        """Read and check the file.

        Raises:
            SourceError: not COCO; one line per problem.
        """
        self._folder, self._uri = config.uri, config.annotations
        document = read_document(self._uri)
        categories = sorted(document.get("categories", []), key=lambda category: category["id"])
        self.classes: tuple[str, ...] = tuple(dict.fromkeys(category["name"] for category in categories))
        self._class_ids = {category["id"]: self.classes.index(category["name"]) for category in categories}
        self._images = {image["file_name"]: image for image in document["images"]}
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

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`; in the file's order."""
        yield from rows_by_name(self._folder, {name: name for name in self._images})

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:
        """See `Source`; an image without annotations has an empty result. `crowds`: those too."""
        image = self._images.get(image_id)
        if image is None:
            return None
        size_hw = _size(image)
        if size_hw is None:
            raise SourceError(f"{self._uri}: image {image_id!r} has no usable height and width")
        chosen = [one for one in self._annotations.get(image_id, []) if crowds or not one.get("iscrowd")]
        found = Instances.from_rle(
            [self._counts(one, image_id, size_hw) for one in chosen],
            size_hw,
            provenance=[CROWD if one.get("iscrowd") else Provenance.GT for one in chosen],
            classes=[self._class_ids[one["category_id"]] for one in chosen],
        )
        if len(found) and not found.areas.all():
            _log.warning("%s: image %s has annotations that cover no pixel", self._uri, image_id)
        return found.filter(found.areas > 0)

    def _counts(self, annotation: Mapping[str, Any], image_id: str, size_hw: tuple[int, int]) -> rle.Counts:
        try:
            return _counts(annotation.get("segmentation"), size_hw)
        except (ValueError, TypeError) as error:
            where = f"{self._uri}: annotation {annotation.get('id')!r} of image {image_id!r}"
            raise SourceError(f"{where}: {error}") from error


def read_document(uri: str) -> dict[str, Any]:
    """A COCO file's content, checked as far as images, categories and annotations belong together.

    Raises:
        SourceError: not COCO; one line per problem.
    """
    document = read_json(uri)
    refuse(uri, _shape_problems(document))
    refuse(uri, _annotation_problems(document))
    return dict(document)


def _counts(segmentation: object, size_hw: tuple[int, int]) -> rle.Counts:
    """One mask, after the checks without which pycocotools reads or writes past its memory."""
    if isinstance(segmentation, list):
        for polygon in segmentation:
            values = np.asarray(polygon, dtype=np.float64)
            if values.ndim != 1 or values.size % 2 or not np.isfinite(values).all():
                raise ValueError(f"a polygon must be x, y, x, y, ..., got {str(polygon)[:60]}")
            if values.size and np.abs(values).max() > 4 * max(size_hw) + 1000:
                raise ValueError(f"a polygon lies far outside its image of size {size_hw}: {str(polygon)[:60]}")
        return rle.from_polygons(segmentation, size_hw)
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if isinstance(counts, list) and not all(isinstance(run, int) and run >= 0 for run in counts):
        raise ValueError(f"run lengths must be whole numbers from 0, got {str(counts)[:60]}")
    found = rle.from_coco(segmentation, size_hw)
    try:
        runs = rle.to_runs(found)
    except (ValueError, IndexError) as error:
        raise ValueError(f"its compressed run lengths cannot be read ({error})") from error
    if runs.min() < 0 or runs.sum() != size_hw[0] * size_hw[1]:
        raise ValueError(f"its run lengths add up to {runs.sum()}, an image of size {size_hw} has other than that")
    return found


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) <= 0:
        return None
    return (height, width) if height * width < _MOST_PIXELS else None


def _shape_problems(document: object) -> list[str]:
    """What keeps images and categories from being read."""
    if not isinstance(document, dict):
        return [f"a COCO file is an object with images, annotations and categories, this one is a {_kind(document)}"]
    needed = ["images", *(["categories"] if document.get("annotations") else [])]
    problems = [f"{key}: missing" for key in needed if key not in document]
    lists = {key: document.get(key, []) for key in ("images", "annotations", "categories")}
    problems += [f"{key}: must be a list, got {_kind(v)}" for key, v in lists.items() if not isinstance(v, list)]
    if problems:
        return problems
    problems += _entry_problems("images", lists["images"], "file_name", ("id", "file_name"))
    return problems + _entry_problems("categories", lists["categories"], "name", ("id",))


def _entry_problems(key: str, entries: Sequence[object], name: str, unique: tuple[str, ...]) -> list[str]:
    """Entries without an id, without a name, or with what another one has."""
    problems: list[str] = []
    taken: dict[str, set[object]] = {field: set() for field in unique}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            problems.append(f"{key}[{index}]: must be an object, got {_kind(entry)}")
            continue
        wrong = None if isinstance(entry.get("id"), int) else f"is {entry.get('id')!r}, it must be a whole number"
        for field, why in (("id", wrong), (name, name_problem(entry.get(name)))):
            if why:
                problems.append(f"{key}[{index}].{field} {why}")
            elif field in taken and entry[field] in taken[field]:
                problems.append(f"{key}[{index}].{field} {entry[field]!r}: there is another one")
            elif field in taken:
                taken[field].add(entry[field])
    return problems


def _annotation_problems(document: Mapping[str, Any]) -> list[str]:
    """Annotations of no image or no category."""
    known = {"image_id": _ids(document["images"]), "category_id": _ids(document.get("categories", []))}
    problems = []
    for index, annotation in enumerate(document.get("annotations", [])):
        if not isinstance(annotation, dict):
            problems.append(f"annotations[{index}]: must be an object, got {_kind(annotation)}")
            continue
        for key, ids in known.items():
            value = annotation.get(key)
            if not isinstance(value, int) or value not in ids:
                problems.append(f"annotations[{index}].{key} is {value!r}, which the file does not list")
    return problems


def _ids(entries: Sequence[Mapping[str, Any]]) -> set[int]:
    return {entry["id"] for entry in entries}


def _kind(value: object) -> str:
    return {dict: "object", list: "list", str: "text", type(None): "null"}.get(type(value), type(value).__name__)
