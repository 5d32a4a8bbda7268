"""Label files beside images: which file of a folder belongs to which image.

By the index that segray's exports write (index.jsonl in the folder above), which holds for images of any name; without
one, by the name: the image's path below its folder, with the label file's suffix. Knows names; opens no label file.
"""

import json
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Final

from segray.errors import SourceError
from segray.formats.source import refuse
from segray.images import kinds
from segray.storage import files, names
from segray.tally import Reason

INDEX: Final = "index.jsonl"
SHARED: Final = Reason(
    "shared-name",
    "have the name of another image but for its suffix, so that nobody knows whose file it is",
    is_damage=True,
)


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
            return None if entry is None else files.join(files.parent(self._folder), entry["file"])
        return files.join(self._folder, PurePosixPath(image_id).with_suffix(self._suffix).as_posix())

    def size_hw(self, image_id: str) -> tuple[int, int] | None:
        """Return the image's height and width, if the index says them."""
        size = self._index.get(image_id, {}).get("size_hw")
        return None if size is None else (int(size[0]), int(size[1]))

    def is_shared(self, image_id: str) -> bool:
        """Return whether another image has the same name but for its suffix, and no index says whose the file is."""
        return not self._index and PurePosixPath(image_id).with_suffix("").as_posix() in self._shared_stems

    @property
    def is_export(self) -> bool:
        """Return whether an export of segray wrote the label files."""
        return bool(self._index)

    @cached_property
    def _index(self) -> dict[str, dict[str, Any]]:
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


def read_index(uri: str) -> dict[str, dict[str, Any]]:
    """Return an export's index by image id; nothing where there is none.

    Raises:
        SourceError: it cannot be read, or names files outside its folder.
    """
    if not files.exists(uri):
        return {}
    try:
        entries = [json.loads(line) for line in files.read_bytes(uri).decode().splitlines() if line.strip()]
        found = {str(one["image_id"]): one for one in entries}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"{uri}: not an index of an export ({error})") from error
    home = files.parent(uri)
    places = [one.get("file", one.get("folder")) for one in entries]
    refuse(uri, [f"{place!r} is no file of the export" for place in places if not _is_below(home, place)])
    return found


def _is_below(home: str, place: object) -> bool:
    return isinstance(place, str) and names.problem(home, place) is None
