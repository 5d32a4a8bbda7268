"""What a label job left, measured against known masks of the same images: maps by mIoU, objects by AP, masks by recall.

Knows stores and sources; no models, no pixels. Images that only one of both knows, or that the job refused, take no
part: `num_images` of the result says how many did.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from segray.config.types import ApProtocol
from segray.errors import ConfigError, LabelError
from segray.evaluation.instance_scores import InstanceResult, InstanceScores
from segray.evaluation.recall import RecallResult, average_recall
from segray.formats.as_label_maps import LabelMapSource
from segray.formats.source import Source
from segray.formats.store.reader import stored_classes
from segray.masks.instances import CROWD, UNLABELED, Instances
from segray.masks.mean_iou import IouResult, MeanIou
from segray.masks.semantic import paint
from segray.store import Store, StoreKind
from segray.store.rows import labeled_rows

Tick = Callable[[], None]
"""Called after each image."""
Pairs = Iterator[tuple[str, Instances, Instances]]
"""Image id, what was found, what is true."""


def measure_store(
    store: Store, truth: Source, seen: Tick = lambda: None, *, protocol: ApProtocol = "coco"
) -> InstanceResult | IouResult | RecallResult:
    """How right a store's labels are; classes are matched by name.

    Label maps are measured by mIoU and objects by AP. Of masks without classes it is measured how many of the true ones
    are among them.

    Raises:
        ConfigError: another protocol than COCO's for a store that holds no objects.
        LabelError: no image in common, a size or a class of the truth that is not the store's.
        SourceError, StoreError: one of both cannot be read.
    """
    classes = stored_classes(store)
    if protocol != "coco" and store.manifest.kind is not StoreKind.OBJECTS:
        raise ConfigError(f'protocol: "{protocol}" measures objects, and {store.uri} holds none: leave it out')
    match store.manifest.kind:
        case StoreKind.MASKS:
            return _recall(_pairs(store, truth, seen))
        case StoreKind.LABEL_MAPS:
            return _maps(classes, LabelMapSource(truth, background=True), store, seen)
        case StoreKind.OBJECTS:
            return _objects(classes, truth, store, seen, protocol)


def _recall(pairs: Pairs) -> RecallResult:
    images = [(found, true.filter(true.provenance != CROWD)) for _, found, true in pairs]
    return RecallResult(recall=average_recall(images), num_images=len(images))


def _maps(classes: Sequence[str], truth: LabelMapSource, store: Store, seen: Tick) -> IouResult:
    gathered, table = MeanIou(classes), _table(truth.classes, classes)
    for _, found, true in _pairs(store, truth, seen):
        gathered.add(paint(found), paint(replace(true, classes=table[true.classes])))
    return gathered.result()


def _objects(classes: Sequence[str], truth: Source, store: Store, seen: Tick, protocol: ApProtocol) -> InstanceResult:
    gathered, table = InstanceScores(classes, protocol=protocol), _table(truth.classes, classes)
    for image_id, found, true in _pairs(store, truth, seen):
        gathered.add(image_id, found, replace(true, classes=table[true.classes]))
    return gathered.result()


def _pairs(store: Store, truth: Source, seen: Tick) -> Pairs:
    """Yield every image that both know, its truth with crowds, which AP passes over."""
    number = 0
    for batch in store.rows():
        for row in labeled_rows(batch):
            found, true = row.instances, truth.instances(row.image.image_id, crowds=True)
            if found is None or true is None:
                continue
            if found.size_hw != true.size_hw:
                raise LabelError(
                    f"image {row.image.image_id!r}: labels of {found.size_hw} pixels, truth of {true.size_hw}: they are"
                    " of two versions of the image"
                )
            number += 1
            yield row.image.image_id, found, true
            seen()
    if not number:
        raise LabelError(f"{store.uri} and the truth have no image in common: are their image ids the same?")


def _table(names: Sequence[str], classes: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The store's class id of each of the truth's; unlabeled masks stay so."""
    strange = [name for name in names if name not in classes]
    if strange:
        raise LabelError(
            f"the truth has the classes {', '.join(strange)}, which the store does not give; it gives"
            f" {', '.join(classes)}: rename them, or take them out"
        )
    return np.array([*(classes.index(name) for name in names), UNLABELED], dtype=np.int32)
