"""Numbers by which a COCO file knows its images and categories, so that what is made of it can keep them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, Self, runtime_checkable

from segray.errors import SourceError
from segray.formats.tally import image_number
from segray.storage import files

KEPT: Final = "coco-ids.json"
"""File in a store's folder that holds the numbers of the COCO file that its images come from."""


@dataclass(frozen=True, kw_only=True)
class CocoIds:
    """Numbers by which a COCO file knows its images and categories."""

    images: Mapping[str, int] = field(default_factory=dict)
    """By image id, which is the file's name."""
    categories: Mapping[str, int] = field(default_factory=dict)
    """By the category's name."""

    def __bool__(self) -> bool:
        return bool(self.images or self.categories)

    def image(self, image_id: str) -> int:
        """Return an image's number; of one that the file does not have, that of segray's exports."""
        known = self.images.get(image_id)
        return image_number(image_id) if known is None else known

    def category(self, index: int, name: str) -> int:
        """Return a class's number; of one that the file does not have, its index from 1 behind the file's own."""
        known = self.categories.get(name)
        return max(self.categories.values(), default=0) + index + 1 if known is None else known

    def write(self, folder: str) -> None:
        """Keep the numbers in a store's folder, unless they are there."""
        uri = files.join(folder, KEPT)
        if self and not files.exists(uri):
            plain = {"images": dict(self.images), "categories": dict(self.categories)}
            files.write_bytes_atomic(uri, json.dumps(plain).encode())

    @classmethod
    def read(cls, folder: str) -> Self:
        """Return the numbers that a store's folder keeps; none where it keeps none.

        Raises:
            SourceError: they cannot be read.
        """
        uri = files.join(folder, KEPT)
        try:
            return cls(**json.loads(files.read_bytes(uri))) if files.exists(uri) else cls()
        except (ValueError, TypeError) as error:
            raise SourceError(f"{uri}: not a store's numbers of images and categories ({error})") from error


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
