"""Class maps as Pascal VOC has them, as a source: images beside index PNGs of the same stems.

0 is background, 255 unknown. One mask per class that an image shows, the background among them, so that nothing is
lost; objects of a class are one mask, and a folder of objects (SegmentationObject) is not read. A map that cannot be
read, or that holds a class without a name, is left out and counted as damage.
"""

from collections.abc import Iterator

import numpy as np

from segray.errors import ImageError, SourceError
from segray.formats.beside import SHARED, FilesBeside
from segray.formats.label_names import LABELS, read_labels
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
        """Read the class names, if a file beside the class maps has them.

        Raises:
            SourceError: that file cannot be read.
        """
        self._uri, self.tally = config.uri, Tally()
        self._maps = None if config.masks is None else FilesBeside(config.uri, config.masks, ".png")
        self.needs_mask_files, self._first = config.masks is None, np.uint8(config.first_index)
        names = config.classes or _names_beside(config.masks)
        self.classes: tuple[str, ...] = names or tuple(str(index) for index in range(UNKNOWN))

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        for entry in image_files(self._uri, self.tally):
            yield ImageRow(image_id=entry.path, uri=entry.uri, version=entry.version)

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:  # noqa: ARG002 - class maps have no crowds
        """See `Source`."""
        if self._maps is None or (uri := self._maps.uri(image_id)) is None:
            return None
        if self._maps.is_shared(image_id):
            self.tally.once(image_id).leave_out("class maps", SHARED, image_id)
            return None
        return self.read_masks(uri)

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


def _names_beside(masks: str | None) -> tuple[str, ...]:
    """Return the class names that segray's export wrote in the folder above the class maps; none where it did not."""
    uri = files.join(files.parent(files.absolute(masks)), LABELS) if masks is not None else ""
    return read_labels(uri) if uri and files.exists(uri) else ()
