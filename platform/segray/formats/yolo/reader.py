"""YOLO's text files as a source: masks from polygons, prompts from boxes and polygons.

A file without lines says that there is nothing in the image; an image without a file has no label. The size that shares
are of comes from the index of segray's own export, else from the image's header, which costs a read. Lines that cannot
be read are counted as damage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import yaml

from segray.errors import ImageError, SourceError
from segray.formats.beside import SHARED, FilesBeside
from segray.formats.source import image_files
from segray.formats.tally import OBJECT
from segray.formats.yolo import YoloSource
from segray.images import decoding
from segray.masks import rle
from segray.masks.instances import UNLABELED, Instances
from segray.masks.object_prompts import ObjectPrompts
from segray.masks.provenance import Provenance
from segray.storage import files
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

INVALID: Final = Reason("invalid", "cannot be read", is_damage=True)
UNNAMED: Final = Reason("unnamed", "are of a class without a name", is_damage=True)
BOX: Final = Reason("box", 'are boxes without a mask, which `job = "prompt"` makes', is_damage=True)
NO_PIXEL: Final = Reason("no-pixel", "have a polygon that covers no pixel", is_damage=True)
NO_SIZE: Final = Reason("no-size", "are of images whose size cannot be read", is_damage=True)
_HEADER: Final = 64 << 10
_FARTHEST: Final = 10.0
"""Largest share that is taken for a place; more is no share."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    """An object, in shares of the image's sides."""

    number: int
    class_id: int
    score: float
    corners: npt.NDArray[np.float64]
    """(N, 2) of a polygon; (2, 2) upper left and lower right of a box."""

    @property
    def is_box(self) -> bool:
        return len(self.corners) == 2


class YoloImages:
    """The images below one folder, with the text files that another one holds for some of them."""

    def __init__(self, config: YoloSource) -> None:
        """Read the class names.

        Raises:
            SourceError: nobody names the classes.
        """
        self._uri, self.tally = config.uri, Tally()
        self._files = FilesBeside(config.uri, config.labels, ".txt")
        named = config.classes or _names(
            config.data or files.join(files.parent(files.absolute(config.labels)), "data.yaml")
        )
        is_ours = self._files.is_export and named[-1:] == (OBJECT,)  # what exports call masks without a class
        self.classes: tuple[str, ...] = named[:-1] if is_ours else named
        self._num_named = len(named)

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        for entry in image_files(self._uri, self.tally):
            yield ImageRow(image_id=entry.path, uri=entry.uri, version=entry.version)

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:  # noqa: ARG002 - YOLO has no crowds
        """See `Source`."""
        lines, tally = self._lines(image_id), self.tally.once(image_id)
        if lines is None or (size_hw := self._size_hw(image_id, tally)) is None:
            return None
        chosen = []
        for line in lines:
            name = f"line {line.number} of {image_id!r}"
            if line.is_box:
                tally.leave_out("lines", BOX, name)
                continue
            counts = rle.from_polygons([_pixels(line.corners, size_hw).reshape(-1).tolist()], size_hw)
            if not rle.areas([counts], size_hw)[0]:
                tally.leave_out("lines", NO_PIXEL, name)
                continue
            tally.use("lines")
            chosen.append((line, counts))
        return Instances.from_rle(
            [counts for _, counts in chosen],
            size_hw,
            provenance=Provenance.GT,
            scores=[1.0 if np.isnan(line.score) else line.score for line, _ in chosen],
            classes=[self._class_of(line) for line, _ in chosen],
        )

    def prompts(self, image_id: str) -> ObjectPrompts | None:
        """See `PromptedSource`: boxes, and those around polygons."""
        lines = self._lines(image_id)
        if lines is None:
            return None
        self.tally.once(f"prompts of {image_id}").use("lines", len(lines))
        return ObjectPrompts.build(
            boxes_xyxy=[
                [*line.corners.min(axis=0), *line.corners.max(axis=0)] if not line.is_box else line.corners.reshape(-1)
                for line in lines
            ],
            scores=[line.score for line in lines],
            classes=[self._class_of(line) for line in lines],
            relative=True,
            size_hw=self._files.size_hw(image_id),
        )

    def _class_of(self, line: _Line) -> int:
        return line.class_id if line.class_id < len(self.classes) else UNLABELED

    def _lines(self, image_id: str) -> list[_Line] | None:
        """Return the lines of an image's file that can be read; None where it has no file."""
        uri, tally = self._files.uri(image_id), self.tally.once(f"lines of {image_id}")
        if uri is None or files.version(uri) is None:
            return None
        if self._files.is_shared(image_id):
            tally.leave_out("label files", SHARED, image_id)
            return None
        tally.use("label files")
        found = []
        for number, text in enumerate(files.read_bytes(uri).decode(errors="replace").splitlines(), start=1):
            if not text.strip():
                continue
            try:
                line = _parsed(number, text)
            except ValueError as error:
                tally.leave_out("lines", INVALID, f"line {number} of {image_id!r}: {error}")
                continue
            if line.class_id >= self._num_named:
                tally.leave_out("lines", UNNAMED, f"line {number} of {image_id!r}: class {line.class_id}")
                continue
            found.append(line)
        return found

    def _size_hw(self, image_id: str, tally: Tally) -> tuple[int, int] | None:
        if (known := self._files.size_hw(image_id)) is not None:
            return known
        uri = files.join(self._uri, image_id)
        for limit in (_HEADER, -1):
            try:
                return decoding.probe(files.read_bytes(uri, limit))
            except (ImageError, SourceError) as error:
                problem = f"{image_id}: {error}"
        tally.leave_out("label files", NO_SIZE, problem)
        return None


def _parsed(number: int, text: str) -> _Line:
    """Return a line's object.

    Raises:
        ValueError: it is none.
    """
    words = text.split()
    class_id, values = float(words[0]), np.array(words[1:], dtype=np.float64)
    if not class_id.is_integer() or class_id < 0:
        raise ValueError(f"{words[0]!r} is no index of a class")
    # A score stands behind four numbers of a box, or behind an even number of them of a polygon.
    has_score = len(values) % 2 == 1
    score = float(values[-1]) if has_score else np.nan
    places = values[: len(values) - has_score]
    if len(places) < 4 or not np.isfinite(values).all() or np.abs(places).max() > _FARTHEST:
        raise ValueError("it has neither a box nor a polygon of shares from 0 to 1")
    corners = places.reshape(-1, 2)
    if len(corners) == 2:
        centre, sides = corners
        corners = np.stack([centre - sides / 2, centre + sides / 2])
    return _Line(number=number, class_id=int(class_id), score=score, corners=corners)


def _pixels(shares: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> npt.NDArray[np.float64]:
    # Six decimals of a share are less than a thousandth of a pixel of any image that is read.
    pixels: npt.NDArray[np.float64] = np.round(shares * (size_hw[1], size_hw[0]), 2)
    return pixels


def _names(uri: str) -> tuple[str, ...]:
    """Return the class names of a YAML file, a list or a table by index.

    Raises:
        SourceError: there is no such file, or it has none.
    """
    if not files.exists(uri):
        raise SourceError(f"{uri}: there is no such file; name the classes by `classes` or by a YAML file (`data`)")
    try:
        document = yaml.safe_load(files.read_bytes(uri))
        names = document["names"]
        table = (
            dict(enumerate(names)) if isinstance(names, list) else {int(index): name for index, name in names.items()}
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SourceError(f"{uri}: names no classes ({type(error).__name__}: {error})") from error
    return tuple(str(table.get(index, index)) for index in range(max(table, default=-1) + 1))
