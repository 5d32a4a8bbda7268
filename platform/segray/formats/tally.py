"""What an export wrote, what it left out and what its format could not carry, with reasons. Knows rows; no format."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from segray.errors import ExportError
from segray.masks.instances import UNLABELED, Instances
from segray.store.rows import LabeledRow
from segray.tally import Reason, Tally

OBJECT = "object"
"""The class name of masks that have no class."""
DUPLICATE: Final = Reason("duplicate", "have an image_id that an earlier one has, and are left out")
EMPTY: Final = Reason("empty", "cover no pixel, of which a polygon can be made, and are left out")
RENAMED: Final = Reason("renamed", "cannot be had as they are, or are taken; index.jsonl says whose each file is")


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What was written."""

    images: int
    masks: int
    tally: Tally
    """Images, masks and names of files: what was left out, and what the format could not carry."""
    corrections: Tally = field(default_factory=Tally)
    """What was read of people's corrections, and what of it was left out and why."""


class ExportTally:
    """Counts along one export. Its memory is one number per image."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._counts = Tally()

    @property
    def images(self) -> int:
        """Return the number of images that were written."""
        return self._counts["images"].used

    @property
    def masks(self) -> int:
        """Return the number of masks that were written."""
        return self._counts["masks"].used

    def usable(self, rows: Iterable[LabeledRow]) -> Iterator[tuple[LabeledRow, Instances]]:
        """Yield the rows to write; count those that a label job refused, and images that come again."""
        for row in rows:
            name = row.image.image_id
            if row.instances is None:
                error = row.error or "unknown"
                self._counts.leave_out("images", Reason(error, f"are refused: {error}"), name)
            elif (number := image_number(name)) in self._seen:
                self._counts.leave_out("images", DUPLICATE, name)
            else:
                self._seen.add(number)
                self._counts.use("images")
                yield row, row.instances

    def wrote(self, masks: int = 1) -> None:
        """Count masks that were written."""
        self._counts.use("masks", masks)

    def left_out(self, reason: Reason, image_id: str) -> None:
        """Count a mask that was not written."""
        self._counts.leave_out("masks", reason, image_id)

    def note(self, kind: str, reason: Reason, example: str, number: int = 1) -> None:
        """Count masks or names that were written otherwise than they are."""
        self._counts.note(kind, reason, example, number)

    def named(self, image_id: str, file: str, *, kept: bool) -> None:
        """Count a file's name, and whether it is the image's own."""
        self._counts.use("file names")
        if not kept:
            self._counts.note("file names", RENAMED, f"{image_id!r} is {file!r}")

    def summary(self) -> ExportSummary:
        """Return the counts so far."""
        return ExportSummary(images=self.images, masks=self.masks, tally=self._counts)


class ExportClasses:
    """Class names by the index that an export writes. Masks without a class are "object", added when one is met."""

    def __init__(self, names: Sequence[str]) -> None:
        self._given = len(names)
        self.names = list(names)

    def index(self, class_id: int, image_id: str) -> int:
        """The index to write for a class id.

        Raises:
            ExportError: the id has no name.
        """
        if class_id != UNLABELED:
            if not 0 <= class_id < self._given:
                raise ExportError(
                    f"a mask of image {image_id!r} has class {class_id}, but {self._given} class names were given:"
                    " give the names of all classes in the order of their ids"
                )
            return class_id
        if OBJECT not in self.names:
            self.names.append(OBJECT)
        return self.names.index(OBJECT)


def image_number(image_id: str) -> int:
    """A positive number of 53 bits (exact in every JSON reader) that is the same for an image in every export."""
    digest = hashlib.blake2b(image_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) or 1
