"""Label maps of a store, asked by the images of a batch: what SAM and CLIP said of them before the training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from segray.errors import TrainError
from segray.formats.store.reader import stored_classes
from segray.masks.instances import UNLABELED, Instances
from segray.masks.semantic import UNKNOWN, Map, on_canvas
from segray.methods.unimatch.config import ZeroShot
from segray.store import Store
from segray.store.lookup import StoreLookup
from segray.training.augmentation.batch import Batch


class ZeroShotLabels:
    """The label maps of a store, as canvases show them."""

    def __init__(self, settings: ZeroShot, classes: Sequence[str]) -> None:
        """`classes` are the student's.

        Raises:
            TrainError: the store gives no classes, or others.
            StoreError: it is not there, or damaged.
        """
        self.settings, self.lookup = settings, StoreLookup(settings.store)
        self._table = _class_table(settings.store, classes)

    def __call__(self, batch: Batch) -> Tensor:
        """(B, H, W) uint8; 255 where nothing is known, or where the image is of another size than its labels."""
        maps = [self._map(image_id, batch, index) for index, image_id in enumerate(batch.image_ids)]
        return torch.from_numpy(np.stack(maps)).to(batch.images.device)

    def _map(self, image_id: str, batch: Batch, index: int) -> Map:
        view, found = batch.views[index], self.lookup.masks(image_id)
        if found is None or found.size_hw != view.image_hw:
            return np.full(view.canvas_hw, UNKNOWN, dtype=np.uint8)
        return on_canvas(self._believed(found), view)[0]

    def _believed(self, found: Instances) -> Instances:
        kept = found.filter((found.classes != UNLABELED) & (found.scores >= self.settings.min_confidence))
        return replace(kept, classes=self._table[kept.classes])


def _class_table(store: str, classes: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The student's class id of each of the store's."""
    names = stored_classes(Store.open(store))
    unknown = [name for name in names if name not in classes]
    if unknown or not names:
        raise TrainError(
            f"{store}: gives the classes {', '.join(names) or 'none'}, of which the labeled images do not know"
            f" {', '.join(unknown) or 'any'}; they know {', '.join(classes)}: label again with those names"
        )
    return np.array([classes.index(name) for name in names], dtype=np.int32)
