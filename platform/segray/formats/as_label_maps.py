"""Any source's annotations as label maps: masks that do not overlap, one per class that an image shows.

A source whose classes include "background" says itself where background is, and what none of its masks covers is
unknown. In others it is background, where that is asked for: all that is no object. What only crowds cover, or masks
without a class, is unknown then: nobody said what it is. Small masks are seen where they lie in large ones.
"""

from collections.abc import Iterator

import numpy as np

from segray.formats.coco.ids import CocoIds, coco_ids_of
from segray.formats.source import Source
from segray.masks.instances import CROWD, UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.masks.semantic import BACKGROUND, UNKNOWN, from_map, paint
from segray.store.rows import ImageRow
from segray.tally import Tally


class LabelMapSource:
    """A source as semantic students see it."""

    def __init__(self, source: Source, *, background: bool) -> None:
        """`background`: what no mask covers is a class, the first one, unless the source has it."""
        self._source = source
        self._adds = background and BACKGROUND not in source.classes
        self.classes: tuple[str, ...] = (BACKGROUND, *source.classes) if self._adds else source.classes

    @property
    def tally(self) -> Tally:
        """See `Source`."""
        return self._source.tally

    @property
    def coco_ids(self) -> CocoIds:
        """See `KnowsCocoIds`."""
        return coco_ids_of(self._source)

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        return self._source.rows()

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:  # noqa: ARG002 - in a map a crowd is unknown
        """See `Source`."""
        found = self._source.instances(image_id, crowds=True)
        if found is None:
            return None
        nameless = (found.provenance == CROWD) | (found.classes == UNLABELED)
        labels = paint(found.filter(~nameless))
        if self._adds:
            labels = np.where(labels == UNKNOWN, labels, labels + np.uint8(1))
            hidden = found.filter(nameless).to_masks().any(0)
            labels[(labels == UNKNOWN) & ~hidden] = 0
        return from_map(labels, provenance=Provenance.GT)
