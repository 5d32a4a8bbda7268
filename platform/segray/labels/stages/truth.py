"""Labeled images as class maps, to choose a threshold on. Opens the labeled source and nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from segray.datasets.training_rows import labeled_images
from segray.errors import LabelError
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.formats.voc import VocSource
from segray.masks import semantic
from segray.store.rows import ImageRow
from segray.tally import Tally


def class_maps(
    labeled: CocoSource | VocSource, classes: Sequence[str], tally: Tally
) -> Iterator[tuple[ImageRow, semantic.Map]]:
    """Each labeled image and its classes as indices into `classes`, background first, which are matched by name.

    What no mask of a COCO file covers is background; what a VOC map does not know stays unknown. At
    the end `tally` has what was used and left out.

    Raises:
        LabelError: a class of the labels is not among the classes.
        SourceError: the labels cannot be read.
    """
    source = open_source(labeled)
    strange = [name for name in source.classes if name not in classes]
    if strange:
        raise LabelError(
            f"the labeled images have the classes {strange}, which are not among {list(classes)}: rename them"
        )
    table = np.array([classes.index(name) for name in source.classes], dtype=np.int32)
    fill = semantic.UNKNOWN if isinstance(labeled, VocSource) else 0
    for row, instances in labeled_images(source, source.rows(), crowds=False):
        yield row, semantic.paint(replace(instances, classes=table[instances.classes]), fill)
    tally.merge(source.tally)
