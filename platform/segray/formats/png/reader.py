"""segray's export of one PNG per mask, as a source: masks to the pixel, classes, ids and attributes.

A mask whose file is missing, damaged or of another size than the others is left out and counted as damage.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from segray.errors import ImageError, SourceError
from segray.formats.beside import INDEX, MaskEntry, read_index
from segray.formats.label_names import LABELS, read_labels
from segray.formats.png import PngSource
from segray.formats.source import rows_by_name
from segray.images import decoding
from segray.masks import rle
from segray.masks.instances import UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.storage import files
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

INVALID: Final = Reason("invalid", "cannot be read as masks of their image", is_damage=True)


class PngMasks:
    """The images that an export's index names, below one folder."""

    def __init__(self, config: PngSource) -> None:
        """Read the index and the class names.

        Raises:
            SourceError: the folder is no such export.
        """
        self._uri, self._export, self._outside, self.tally = config.uri, config.masks, config.outside, Tally()
        self._index = read_index(files.join(files.absolute(config.masks), INDEX))
        labels = files.join(config.masks, LABELS)
        if not files.exists(labels):
            raise SourceError(f"{config.masks}: not written by `segray export --format png`: it has no {LABELS}")
        self.classes: tuple[str, ...] = read_labels(labels)

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`; in the index's order."""
        yield from rows_by_name(self._uri, {name: name for name in self._index}, outside=self._outside)

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:  # noqa: ARG002 - PNGs hold no crowds
        """See `Source`."""
        if (entry := self._index.get(image_id)) is None:
            return None
        if entry.size_hw is None or entry.folder is None:
            raise SourceError(f"{self._export}: its index says no size and folder of {image_id!r}")
        tally, chosen = self.tally.once(image_id), []
        for mask in entry.masks:
            try:
                uri = files.join(self._export, entry.folder, mask.file)
                chosen.append((mask, _counts(uri, entry.size_hw), self._class(mask)))
                tally.use("masks")
            except (ImageError, SourceError, ValueError) as error:
                tally.leave_out("masks", INVALID, f"{mask.file} of {image_id!r}: {error}")
        return Instances.from_rle(
            [counts for _, counts, _ in chosen],
            entry.size_hw,
            provenance=Provenance.GT,
            scores=[mask.score for mask, *_ in chosen],
            classes=[class_id for *_, class_id in chosen],
            ids=[mask.id for mask, *_ in chosen],
            attributes=[mask.attributes for mask, *_ in chosen],
        )

    def _class(self, mask: MaskEntry) -> int:
        if mask.class_id is None:
            return UNLABELED
        if not isinstance(mask.class_id, int) or not 0 <= mask.class_id < len(self.classes):
            raise ValueError(f"its class_id is {mask.class_id!r}, and {LABELS} names {len(self.classes)} classes")
        return mask.class_id


def _counts(uri: str, size_hw: tuple[int, int]) -> rle.Counts:
    values = decoding.decode_indices(files.read_bytes(uri))
    if values.shape != size_hw:
        raise ValueError(f"it is of size {values.shape}, the image of {size_hw}")
    return rle.encode(np.asarray(values > 127)[None])[0]
