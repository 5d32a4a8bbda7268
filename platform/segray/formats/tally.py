"""What an export wrote and what it left out, with reasons. Knows rows; knows no format."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from segray.errors import ExportError
from segray.masks.instances import UNLABELED, Instances
from segray.store.rows import LabeledRow
from segray.tally import Tally

OBJECT = "object"
"""The class name of masks that have no class."""


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What was written. `skipped` counts images, `skipped_masks` masks, each by reason."""

    images: int
    masks: int
    skipped: Mapping[str, int]
    skipped_masks: Mapping[str, int]
    corrections: Tally = field(default_factory=Tally)
    """What was read of people's corrections, and what of it was left out and why."""


class ExportTally:
    """Counts along one export. Its memory is one number per image."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._skipped: Counter[str] = Counter()
        self._skipped_masks: Counter[str] = Counter()
        self.images = 0
        self.masks = 0

    def usable(self, rows: Iterable[LabeledRow]) -> Iterator[tuple[LabeledRow, Instances]]:
        """The rows to write. Error rows are counted by their reason, an image seen before as "duplicate"."""
        for row in rows:
            if row.instances is None:
                self._skipped[row.error or "unknown"] += 1
            elif (number := image_number(row.image.image_id)) in self._seen:
                self._skipped["duplicate"] += 1
            else:
                self._seen.add(number)
                self.images += 1
                yield row, row.instances

    def wrote(self, masks: int = 1) -> None:
        """Count masks that were written."""
        self.masks += masks

    def left_out(self, reason: str) -> None:
        """Count a mask that was not."""
        self._skipped_masks[reason] += 1

    def summary(self) -> ExportSummary:
        """The counts so far."""
        return ExportSummary(
            images=self.images,
            masks=self.masks,
            skipped=dict(self._skipped),
            skipped_masks=dict(self._skipped_masks),
        )


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
