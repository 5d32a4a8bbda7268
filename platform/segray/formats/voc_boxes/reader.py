"""Pascal VOC's XML files as a source of boxes. They have no masks.

A file that cannot be read is counted as damage, and so is a box without four numbers, once a job asks for it.
"""

import json
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree

import numpy as np

from segray.errors import SourceError
from segray.formats.beside import SHARED, FilesBeside
from segray.formats.source import image_files
from segray.formats.voc_boxes import VocBoxesSource
from segray.masks.object_prompts import ObjectPrompts
from segray.storage import files
from segray.storage.prefetch import map_in_order
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

INVALID: Final = Reason("invalid", "cannot be read", is_damage=True)
OTHER_CLASS: Final = Reason("other-class", "are of a class that `classes` does not name and are left out")
_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")
_OWN: Final = frozenset(("name", "bndbox", "score", "part", "polygon"))
"""Elements of an object that are no attribute of it."""


class VocBoxes:
    """The images below one folder, with the boxes that another one holds for some of them."""

    def __init__(self, config: VocBoxesSource) -> None:
        """Read the class names of all files, unless the config has them.

        Raises:
            SourceError: a folder cannot be listed.
        """
        self._uri, self._first, self.tally = config.uri, config.first_pixel, Tally()
        self._files = FilesBeside(config.uri, config.annotations, ".xml")
        self.classes: tuple[str, ...] = config.classes or _class_names(config.annotations)

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        for entry in image_files(self._uri, self.tally):
            yield ImageRow(image_id=entry.path, uri=entry.uri, version=entry.version)

    def instances(self, image_id: str, *, crowds: bool = False) -> None:  # noqa: ARG002 - the files have no masks
        """Return None: the files have boxes, no masks."""
        return

    def prompts(self, image_id: str) -> ObjectPrompts | None:
        """See `PromptedSource`."""
        uri, tally = self._files.uri(image_id), self.tally.once(image_id)
        if uri is None or files.version(uri) is None:
            return None
        if self._files.is_shared(image_id):
            tally.leave_out("label files", SHARED, image_id)
            return None
        try:
            root = parsed(files.read_bytes(uri))
        except ValueError as error:
            tally.leave_out("label files", INVALID, f"{image_id}: {error}")
            return None
        tally.use("label files")
        objects = []
        for one in root.iter("object"):
            if _name(one) in self.classes:
                objects.append(one)
            else:
                tally.leave_out("objects", OTHER_CLASS, f"{_name(one)!r} of {image_id!r}")
        tally.use("objects", len(objects))
        return ObjectPrompts.build(
            boxes_xyxy=np.array([self._box(one) for one in objects]).reshape(-1, 4),
            scores=[_number(one, "score") for one in objects],
            classes=[self.classes.index(_name(one)) for one in objects],
            attributes=[_attributes(one) for one in objects],
            size_hw=_size_hw(root),
        )

    def _box(self, element: ElementTree.Element) -> list[float]:
        """Return corners; VOC's last pixel belongs to the box."""
        box = element.find("bndbox")
        if box is None:
            return [np.nan] * 4
        x0, y0, x1, y1 = (_number(box, name) for name in _CORNERS)
        return [x0 - self._first, y0 - self._first, x1, y1]


def parsed(data: bytes) -> ElementTree.Element:
    """Return the root of an XML document.

    Raises:
        ValueError: it is none, or declares entities, which may stand for any amount of text.
    """
    if b"<!ENTITY" in data:
        raise ValueError("it declares entities")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"no XML ({error})") from error


def _class_names(folder: str) -> tuple[str, ...]:
    """Return the names of all objects; files that cannot be read are counted once their image is asked for."""

    def names(entry: files.FileEntry) -> set[str]:
        try:
            return {_name(one) for one in parsed(files.read_bytes(entry.uri)).iter("object")}
        except (ValueError, SourceError):
            return set()

    found: set[str] = set()
    for some in map_in_order(names, files.list_files(folder, (".xml",))):
        found |= some
    return tuple(sorted(found - {""}))


def _name(element: ElementTree.Element) -> str:
    return (element.findtext("name") or "").strip()


def _number(element: ElementTree.Element, name: str) -> float:
    try:
        return float(element.findtext(name) or "nan")
    except ValueError:
        return np.nan


def _size_hw(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return the image's size as the file has it; tools that do not know it write 0."""
    size = root.find("size")
    if size is None:
        return None
    height, width = _number(size, "height"), _number(size, "width")
    return (int(height), int(width)) if height >= 1 and width >= 1 else None


def _attributes(element: ElementTree.Element) -> str:
    """Return what else the file says: pose, truncated, difficult, occluded."""
    texts = {one.tag: (one.text or "").strip() for one in element if one.tag not in _OWN and not len(one)}
    found = {tag: text for tag, text in texts.items() if text}
    return json.dumps(found, ensure_ascii=False) if found else ""
