"""Label files beside images: which file of a folder belongs to which image.

By the index that segray's exports write (index.jsonl in the folder above), which holds for images of any name; without
one, by the name: the image's path below its folder, with the label file's suffix. Knows names; opens no label file.
"""

import json
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Final

import pydantic

from segray.errors import SourceError
from segray.formats.source import attributes_text, refuse
from segray.images import kinds
from segray.storage import files, names
from segray.tally import Reason

INDEX: Final = "index.jsonl"
_MOST_PIXELS: Final = 1 << 32
SHARED: Final = Reason(
    "shared-name",
    "have the name of another image but for its suffix, so that nobody knows whose file it is",
    is_damage=True,
)


def _countable(size_hw: tuple[int, int]) -> tuple[int, int]:
    if size_hw[0] * size_hw[1] >= _MOST_PIXELS:
        raise ValueError(f"{size_hw} are more pixels than run lengths can count")
    return size_hw


_Size = Annotated[tuple[pydantic.PositiveInt, pydantic.PositiveInt], pydantic.AfterValidator(_countable)]


class MaskEntry(pydantic.BaseModel):
    """A mask's file in the image's folder, and what the export knows of the mask."""

    file: str
    class_id: object = None
    score: pydantic.FiniteFloat = 1.0
    id: str = ""
    attributes: Annotated[str, pydantic.AfterValidator(attributes_text)] = ""


class IndexEntry(pydantic.BaseModel):
    """A line of an index: an image, and the file or folder that holds its labels, below the index's folder."""

    image_id: str
    file: str | None = None
    folder: str | None = None
    size_hw: _Size | None = None
    masks: list[MaskEntry] = []

    @property
    def places(self) -> list[str]:
        """Return every file and folder that the entry names, below the index's folder."""
        own = [one for one in (self.file, self.folder) if one is not None]
        return [*own, *(f"{self.folder}/{mask.file}" for mask in self.masks)]


class FilesBeside:
    """Files of one suffix in one folder, each of them of an image in another folder."""

    def __init__(self, images: str, folder: str, suffix: str) -> None:
        """Open nothing yet.

        Args:
            images: folder of images.
            folder: folder of label files.
            suffix: with its dot.
        """
        self._images, self._folder, self._suffix = images, folder, suffix

    def uri(self, image_id: str) -> str | None:
        """Return where an image's file lies, if it has one; None for an image that an index does not name."""
        if self._index:
            entry = self._index.get(image_id)
            return files.join(files.parent(self._folder), entry.file) if entry and entry.file else None
        return files.join(self._folder, PurePosixPath(image_id).with_suffix(self._suffix).as_posix())

    def size_hw(self, image_id: str) -> tuple[int, int] | None:
        """Return the image's height and width, if the index says them."""
        entry = self._index.get(image_id)
        return entry.size_hw if entry is not None else None

    def is_shared(self, image_id: str) -> bool:
        """Return whether another image has the same name but for its suffix, and no index says whose the file is."""
        return not self._index and PurePosixPath(image_id).with_suffix("").as_posix() in self._shared_stems

    @property
    def is_export(self) -> bool:
        """Return whether an export of segray wrote the label files."""
        return bool(self._index)

    @cached_property
    def _index(self) -> dict[str, IndexEntry]:
        return read_index(files.join(files.parent(files.absolute(self._folder)), INDEX))

    @cached_property
    def _shared_stems(self) -> set[str]:
        seen: set[int] = set()
        shared = set()
        for entry in files.list_files(self._images, kinds.SUFFIXES):
            stem = PurePosixPath(entry.path).with_suffix("").as_posix()
            shared.update([stem] if hash(stem) in seen else [])
            seen.add(hash(stem))
        return shared


def read_index(uri: str) -> dict[str, IndexEntry]:
    """Return an export's index by image id; nothing where there is none.

    Raises:
        SourceError: it cannot be read, or names files outside its folder; one line per problem.
    """
    if not files.exists(uri):
        return {}
    try:
        lines = files.read_bytes(uri).decode().splitlines()
        entries = [IndexEntry.model_validate(json.loads(line)) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{uri}: not an index of an export ({error})") from error
    home = files.parent(uri)
    refuse(uri, [f"{place!r} {why}" for one in entries for place in one.places if (why := names.problem(home, place))])
    return {one.image_id: one for one in entries}
