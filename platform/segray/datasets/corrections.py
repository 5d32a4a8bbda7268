"""What people fixed takes precedence over what machines made.

The rule: an image that a corrections file speaks of has exactly the masks of that file, with provenance
`correction:<file name>`; all machine masks of it go, and so does an error. A COCO file speaks of every image that it
lists, also of those without annotations (there, a person found nothing): leave out images that nobody looked at. A
Label Studio export speaks of the tasks with an annotation that was not cancelled. Where several files speak of an
image the last one counts. Files are read as by every other job; where `crowds` of a COCO file is "leave_out", its
crowds are left out and counted.

Images are matched by id, classes by name. An image's size is in the row, so that no image is opened. Knows no stores.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self, cast

import numpy as np

from segray.errors import SourceError
from segray.formats.coco import CocoSource
from segray.formats.label_studio import LabelStudioSource
from segray.formats.registry import READERS
from segray.formats.source import AnnotatedSource
from segray.formats.tally import OBJECT
from segray.masks.instances import UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.store.rows import LabeledRow
from segray.tally import Tally


class Corrections:
    """Corrected masks by image id."""

    def __init__(self, sources: Sequence[tuple[str, AnnotatedSource]], classes: Sequence[str]) -> None:
        """`sources` with what names them in provenance, `classes` the class list of the rows to come."""
        names = dict.fromkeys(name for _, source in sources for name in source.classes)
        self.classes = tuple(dict.fromkeys([*classes, *(name for name in names if name != OBJECT)]))
        """The class list that corrected rows are in: the one given, then what the files add."""
        self._sources = sources
        self._source_of = {image_id: at for at, (_, source) in enumerate(sources) for image_id in source.annotated}

    @classmethod
    def open(cls, configs: Sequence[CocoSource | LabelStudioSource], classes: Sequence[str] = ()) -> Self:
        """Read and check the files.

        Args:
            configs: corrections, later ones counting over earlier ones.
            classes: class names by class id of the rows that will be corrected. A correction called "object" has no
                class, as exports write it, unless the name is in here.

        Raises:
            SourceError: a file cannot be read; one line per problem.
        """
        opened = [(_file_name(one.annotations), READERS[one.kind].open(one)) for one in configs]
        return cls(cast(list[tuple[str, AnnotatedSource]], opened), classes)

    @property
    def image_ids(self) -> frozenset[str]:
        """Which images are corrected: one that no store knows is a misspelt id, or an image that went away."""
        return frozenset(self._source_of)

    def read_all(self) -> Tally:
        """Read all corrections that count, and return what of them is used, left out and why.

        Raises:
            SourceError: a correction cannot be understood.
        """
        for image_id, at in self._source_of.items():
            # Only whoever applies them knows the sizes of images in which nothing is marked.
            self._sources[at][1].instances(image_id, size_hw=(1, 1))
        return Tally.merged(source.tally for _, source in self._sources)

    def apply(self, row: LabeledRow) -> LabeledRow:
        """The row with what people said of its image; the same row where they said nothing.

        Raises:
            SourceError: the correction is broken, or of an image of another size.
        """
        image_id = row.image.image_id
        if image_id not in self._source_of:
            return row
        name, source = self._sources[self._source_of[image_id]]
        size_hw = row.instances.size_hw if row.instances is not None else None
        found = source.instances(image_id, size_hw=size_hw)
        assert found is not None  # It is one of the annotated.
        if row.instances is not None and row.instances.size_hw != found.size_hw:
            raise SourceError(
                f"{name}: image {image_id!r} was corrected at (height, width) {found.size_hw} and has "
                f"{row.instances.size_hw} now: correct it again, or take it out of the file"
            )
        return replace(row, error=None, detail=None, instances=self._named(found, source.classes, name))

    def _named(self, found: Instances, classes: tuple[str, ...], name: str) -> Instances:
        """With classes of our list, and with the file as provenance."""
        table = [self.classes.index(one) if one in self.classes else UNLABELED for one in classes]
        made = np.full(len(found), f"{Provenance.CORRECTION}:{name}", dtype=object)
        # The last entry is what -1 (no class) picks.
        mapped = np.array([*table, UNLABELED], dtype=np.int32)[found.classes]
        return replace(found, classes=mapped, provenance=made)


def _file_name(uri: str) -> str:
    return uri.partition("?")[0].rstrip("/").rpartition("/")[2]
