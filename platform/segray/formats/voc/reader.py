"""Class maps as Pascal VOC has them, as a source: images beside index PNGs of the same stems.

0 is background, 255 unknown. One mask per class that an image shows, the background among them, so that nothing is
lost; objects of a class are one mask, and a folder of objects (SegmentationObject) is not read. A map that cannot be
read, or that holds a class without a name, is left out and counted as damage.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from segray.errors import ImageError, SourceError
from segray.formats.source import image_files
from segray.formats.voc import VocSource
from segray.images import decoding
from segray.masks import rle
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.masks.semantic import UNKNOWN
from segray.storage import files
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

INVALID = Reason("invalid", "cannot be read as class maps", is_damage=True)
UNNAMED = Reason("unnamed", "have a class without a name", is_damage=True)


class VocImages:
    """The images below one folder, with the class maps that another one holds for some of them."""

    def __init__(self, config: VocSource) -> None:
        self._uri, self._masks, self.tally = config.uri, config.masks, Tally()
        self.needs_mask_files, self._first = config.masks is None, np.uint8(config.first_index)
        self.classes: tuple[str, ...] = config.classes or tuple(str(index) for index in range(UNKNOWN))

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        for entry in image_files(self._uri, self.tally):
            yield ImageRow(image_id=entry.path, uri=entry.uri, version=entry.version)

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:  # noqa: ARG002 - class maps have no crowds
        """See `Source`."""
        if self._masks is None:
            return None
        return self.read_masks(files.join(self._masks, PurePosixPath(image_id).with_suffix(".png").as_posix()))

    def read_masks(self, uri: str) -> Instances | None:
        """See `ReadsMaskFiles`."""
        if files.version(uri) is None:
            return None
        tally = self.tally.once(uri)
        try:
            indices = decoding.decode_indices(files.read_bytes(uri))
        except (ImageError, SourceError) as error:
            tally.leave_out("class maps", INVALID, f"{uri}: {error}")
            return None
        if self._first:
            # The index below the first class is as unknown as 255.
            indices = np.where(indices == UNKNOWN, UNKNOWN, indices - self._first).astype(np.uint8)
        present = np.unique(indices)
        present = present[present != UNKNOWN]
        if len(present) and present[-1] >= len(self.classes):
            detail = f"{uri} holds class {present[-1] + int(self._first)}, but {len(self.classes)} classes are named"
            tally.leave_out("class maps", UNNAMED, detail)
            return None
        tally.use("class maps")
        counts = [rle.encode((indices == index)[None])[0] for index in present]
        return Instances.from_rle(counts, indices.shape, provenance=Provenance.GT, classes=present)
