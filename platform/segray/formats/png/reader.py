"""segray's export of one PNG per mask, as a source: masks to the pixel, classes, ids and attributes.

A mask whose file is missing, damaged or of another size than the others is left out and counted as damage.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from segray.errors import ImageError, SourceError
from segray.formats.beside import INDEX, read_index
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
        size_hw, tally = (int(entry["size_hw"][0]), int(entry["size_hw"][1])), self.tally.once(image_id)
        chosen = []
        for mask in entry["masks"]:
            try:
                chosen.append((mask, self._counts(entry["folder"], mask, size_hw), self._class(mask)))
                tally.use("masks")
            except (ImageError, SourceError, ValueError) as error:
                tally.leave_out("masks", INVALID, f"{mask.get('file')} of {image_id!r}: {error}")
        return Instances.from_rle(
            [counts for _, counts, _ in chosen],
            size_hw,
            provenance=Provenance.GT,
            scores=[mask.get("score", 1.0) for mask, *_ in chosen],
            classes=[class_id for *_, class_id in chosen],
            ids=[mask.get("id", "") for mask, *_ in chosen],
            attributes=[mask.get("attributes", "") for mask, *_ in chosen],
        )

    def _class(self, mask: Mapping[str, Any]) -> int:
        class_id = mask.get("class_id")
        if class_id is None:
            return UNLABELED
        if not isinstance(class_id, int) or not 0 <= class_id < len(self.classes):
            raise ValueError(f"its class_id is {class_id!r}, and {LABELS} names {len(self.classes)} classes")
        return class_id

    def _counts(self, folder: str, mask: Mapping[str, Any], size_hw: tuple[int, int]) -> rle.Counts:
        values = decoding.decode_indices(files.read_bytes(files.join(self._export, folder, str(mask["file"]))))
        if values.shape != size_hw:
            raise ValueError(f"it is of size {values.shape}, the image of {size_hw}")
        return rle.encode(np.asarray(values > 127)[None])[0]
