"""Image lists: files that name the images to take, and the source of those images alone.

A text file has an image per line, or an image and its class map, as in the splits of UniMatch and Pascal VOC; a JSON
file has a list of COCO ids or names. How a name finds its image is in docs/data.md#image-lists. Knows names and
sources; opens no image.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Protocol, cast, runtime_checkable

from segray.errors import SourceError
from segray.formats.coco.ids import CocoIds, coco_ids_of
from segray.formats.source import PromptedSource, Source, name_problem, refuse
from segray.images import kinds
from segray.masks.instances import Instances
from segray.masks.object_prompts import ObjectPrompts
from segray.storage import files, names
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

REPEATED = Reason("repeated", "name an image that an earlier line of the list names")
_ID, _ALIAS, _PATH, _STEM, _NUMBER = range(5)
"""Ways in which a name fits an image, the surest first."""
_FLAG = re.compile(r"\s(-1|0|1)$")


@runtime_checkable
class KnowsAliases(Protocol):
    """A source whose images have further names in lists, such as COCO's numeric ids."""

    def aliases(self, image_id: str) -> Iterable[str]:
        """Yield the image's other names."""


@runtime_checkable
class ReadsMaskFiles(Protocol):
    """A source whose masks are files, which a list may name."""

    @property
    def needs_mask_files(self) -> bool:
        """Whether only a list says where the masks are."""

    def read_masks(self, uri: str) -> Instances | None:
        """Decode a file of masks; None where there is none.

        Raises:
            SourceError: it is there and broken.
        """


@dataclass(frozen=True)
class Reading:
    """One way to read a line: as the name of an image, or as an image and its class map."""

    line: int
    """Index of the line."""
    name: str
    """Name of the image, without a scheme or slashes before it."""
    columns: int
    """Number of names that the line is read as."""
    mask: str | None


@dataclass(frozen=True)
class Match:
    """An image that fits a line."""

    rank: tuple[int, int]
    """How surely it fits; smaller is surer."""
    position: int
    """Place of the image in the source."""
    row: ImageRow
    mask: str | None
    """URI of the class map that the line names."""


class ListedImages:
    """The images of a source that a list names, in the source's order."""

    def __init__(self, source: Source, uri: str) -> None:
        """Read the list; its names are looked up when the first image is asked for.

        Raises:
            SourceError: the list cannot be read, or names nothing.
        """
        self._source, self._uri = source, uri
        self._lines = read_list(uri)
        self.classes: tuple[str, ...] = source.classes
        self.tally: Tally = source.tally
        """Lines of the list, and what the source counts."""

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`.

        Raises:
            SourceError: a name that no image has, or several have.
        """
        return (match.row for match in self._taken.values())

    def instances(
        self, image_id: str, *, crowds: bool = False, size_hw: tuple[int, int] | None = None
    ) -> Instances | None:
        """See `AnnotatedSource`; read from the file that the list names, where only the list says where masks are."""
        match = self._taken.get(image_id)
        if match is None:
            return None
        if isinstance(self._source, ReadsMaskFiles) and self._source.needs_mask_files:
            return self._source.read_masks(match.mask) if match.mask else None
        known = {} if size_hw is None else {"size_hw": size_hw}
        return self._source.instances(image_id, crowds=crowds, **known)

    def prompts(self, image_id: str) -> ObjectPrompts | None:
        """See `PromptedSource`."""
        return cast(PromptedSource, self._source).prompts(image_id) if image_id in self._taken else None

    @property
    def coco_ids(self) -> CocoIds:
        """See `KnowsCocoIds`."""
        return coco_ids_of(self._source)

    @property
    def annotated(self) -> Iterable[str]:
        """See `AnnotatedSource`."""
        return (one for one in cast(Any, self._source).annotated if one in self._taken)

    @cached_property
    def _taken(self) -> Mapping[str, Match]:
        """The matches by image id, in the source's order."""
        fitting = _matches(self._source, self._lines)
        named = [(line, fitting.get(index, [])) for index, line in enumerate(self._lines)]
        refuse(self._uri, [_problem(line, found) for line, found in named if len(found) != 1])
        taken: dict[str, Match] = {}
        for line, (match,) in named:
            if match.row.image_id in taken:
                self.tally.leave_out("lines", REPEATED, repr(line))
            else:
                taken[match.row.image_id] = match
                self.tally.use("lines")
        return dict(sorted(taken.items(), key=lambda one: one[1].position))


def read_list(uri: str) -> list[str]:
    """Return the entries of an image list: its lines that are not blank, or the items of a JSON list.

    Raises:
        SourceError: it cannot be read, is neither, or has no entries.
    """
    try:
        text = files.read_bytes(uri).decode("utf-8-sig")
        entries = _json_entries(uri, text) if text.lstrip()[:1] in ("[", "{") else text.splitlines()
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{uri}: neither lines of text nor a JSON list ({error})") from error
    found = [one.strip() for one in entries if one.strip()]
    if not found:
        raise SourceError(f"{uri}: names no images")
    if all(_FLAG.search(one) for one in found):
        raise SourceError(
            f"{uri}: every line ends in a class's flag, as in ImageSets/Main of Pascal VOC; give a list of the images"
            " alone, such as those of ImageSets/Segmentation"
        )
    return found


def _json_entries(uri: str, text: str) -> list[str]:
    """Return the names and ids of a JSON list, or the file names of a COCO file."""
    document = json.loads(text)
    if isinstance(document, dict) and isinstance(document.get("images"), list):
        document = [one.get("file_name") if isinstance(one, dict) else one for one in document["images"]]
    if not isinstance(document, list):
        raise SourceError(f"{uri}: is a JSON object; give a list of ids or names, or a COCO file")
    entries = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in document]
    refuse(uri, [f"entry {index} {why}" for index, one in enumerate(entries) if (why := name_problem(one))])
    return entries


def _problem(line: str, fitting: Sequence[Match]) -> str:
    ids = ", ".join(repr(one.row.image_id) for one in fitting[:3])
    return f"{line!r} fits several images ({ids})" if fitting else f"{line!r} names no image of the source"


def _matches(source: Source, lines: Sequence[str]) -> dict[int, list[Match]]:
    """Return the images that fit each line best, by the line's index; several where no one fits better."""
    readings: dict[str, list[Reading]] = {}
    for index, text in enumerate(lines):
        for one in _readings(index, text):
            readings.setdefault(one.name, []).append(one)
    found: dict[int, list[Match]] = {}
    for position, row in enumerate(source.rows()):
        for line, match in _fits(source, position, row, readings).items():
            best = found.setdefault(line, [match])
            if match.rank < best[0].rank:
                found[line] = [match]
            elif match.rank == best[0].rank and match is not best[0]:
                best.append(match)
    return found


def _readings(index: int, line: str) -> Iterator[Reading]:
    """Yield the line as one name, which may hold spaces, and as an image and a class map."""
    yield Reading(index, _bare(line), 1, None)
    image, *mask = line.rsplit(maxsplit=1)
    if mask:
        # UniMatch V2 writes None beside images without a class map.
        yield Reading(index, _bare(image), 2, None if mask[0] == "None" else _bare(mask[0]))


def _bare(name: str) -> str:
    """Return a name without a scheme, `./` and slashes before it."""
    bare = name.partition("://")[2] or name
    while bare.startswith(("/", "./")):
        bare = bare.removeprefix(".").lstrip("/")
    return bare


def _fits(source: Source, position: int, row: ImageRow, readings: Mapping[str, Sequence[Reading]]) -> dict[int, Match]:
    """Return how surely the image fits each line that it fits."""
    found: dict[int, Match] = {}
    for how, name, depth in _names(source, row):
        for one in readings.get(name, ()):
            rank = (one.columns, how)
            if one.line not in found or rank < found[one.line].rank:
                found[one.line] = Match(rank, position, row, _beside(row.uri, depth, one.mask))
    return found


def _names(source: Source, row: ImageRow) -> Iterator[tuple[int, str, int]]:
    """Yield the names of an image: how surely each is meant, and the number of its parts that are folders or files."""
    yield _ID, _bare(row.image_id), row.image_id.count("/") + 1
    if (stem := _stem(row.image_id)) != row.image_id:
        yield _ALIAS, _bare(stem), row.image_id.count("/") + 1
    known = isinstance(source, KnowsAliases)
    for alias in source.aliases(row.image_id) if isinstance(source, KnowsAliases) else ():
        yield _ALIAS, alias, 1
    parts = PurePosixPath(_bare(files.filesystem(row.uri)[1])).parts
    for depth in range(1, len(parts) + 1):
        below = "/".join(parts[-depth:])
        yield _PATH, below, depth
        yield _STEM, _stem(below), depth
    if not known and (number := _stem(parts[-1])).isdecimal():
        yield _NUMBER, str(int(number)), 1


def _stem(name: str) -> str:
    """Return a name without an image file's ending."""
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in kinds.SUFFIXES else name


def _beside(uri: str, depth: int, mask: str | None) -> str | None:
    """Return the URI of a class map, which is relative to the same folder as the image's name of `depth` parts."""
    if mask is None:
        return None
    for _ in range(depth):
        uri = files.parent(uri)
    return names.resolve(uri, mask)
