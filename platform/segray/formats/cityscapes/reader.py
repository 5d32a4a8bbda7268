"""Cityscapes as a source of objects or of class maps, from its instance files, polygons or train ids.

Regions of several objects (`cargroup`) are crowds. Void is a crowd without a class: nobody said what is there, and
cityscapesScripts passes over what is found in it. Knows the files of one image; opens no picture.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from segray.errors import ImageError, SourceError
from segray.formats.cityscapes import CityscapesSource
from segray.formats.cityscapes.labels import CLASS_IDS, OBJECT_CLASSES, OBJECTS_FROM, VOID_IDS
from segray.formats.cityscapes.polygons import draw
from segray.images import decoding
from segray.masks import rle
from segray.masks.instances import CROWD, UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.masks.semantic import UNKNOWN, Map, from_map
from segray.storage import files
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

IMAGES: Final = "leftImg8bit"
_ENDING: Final = f"_{IMAGES}.png"
_LABEL_FILES: Final = ("instanceIds.png", "labelIds.png", "labelTrainIds.png", "color.png", "polygons.json")

BESIDE = Reason("beside", f"are no images of Cityscapes by their names (NAME{_ENDING}) and are left out")
SEVERAL = Reason("crowd", "are regions of several objects and are left out")
INVALID = Reason("invalid", "cannot be read, or hold what Cityscapes does not know", is_damage=True)

Ids = npt.NDArray[np.int32]
"""(H, W): label ids and numbered objects, as `labels` describes them."""


class CityscapesImages:
    """The images of a split, with their labels."""

    def __init__(self, config: CityscapesSource) -> None:
        self._config = config
        self.classes: tuple[str, ...] = OBJECT_CLASSES if config.level == "instance" else tuple(CLASS_IDS)
        self.tally = Tally()

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        folder = files.join(self._config.uri, IMAGES, self._config.split)
        self.tally.restart("files")
        for entry in files.list_files(folder):
            if entry.path.endswith(_ENDING):
                self.tally.use("files")
                image_id = f"{self._config.split}/{entry.path}"
                yield ImageRow(image_id=image_id, uri=entry.uri, version=entry.version)
            else:
                self.tally.leave_out("files", BESIDE, entry.path)

    def aliases(self, image_id: str) -> Iterable[str]:
        """See `KnowsAliases`: what an image's files begin with, and its label files."""
        name = image_id.rpartition("/")[2].removesuffix(_ENDING)
        return (name, *(f"{name}_{self._config.labels}_{one}" for one in _LABEL_FILES))

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:
        """See `Source`; class maps have no crowds."""
        if not image_id.endswith(_ENDING) or self._config.split == "test":
            return None
        ending = "polygons.json" if self._config.label_files == "polygons" else f"{self._config.label_files}.png"
        stem = image_id.removesuffix(_ENDING)
        uri = files.join(self._config.uri, self._config.labels, f"{stem}_{self._config.labels}_{ending}")
        if files.version(uri) is None:
            return None
        tally = self.tally.once(image_id)
        try:
            found = self._read(uri)
        except SourceError as error:
            tally.leave_out("label files", INVALID, str(error))
            return None
        tally.use("label files")
        if self._config.level == "pixel":
            return found
        several = found.filter((found.provenance == CROWD) & (found.classes != UNLABELED))
        tally.use("objects", len(found.filter(found.provenance != CROWD)))
        tally.leave_out("objects", SEVERAL, image_id, len(several))
        return found if crowds else found.filter(found.provenance != CROWD)

    def _read(self, uri: str) -> Instances:
        """Return what a label file shows, with crowds.

        Raises:
            SourceError: it cannot be read, or holds what Cityscapes does not know.
        """
        if self._config.label_files == "labelTrainIds":
            return from_map(_train_ids(uri), provenance=Provenance.GT)
        ids = draw(uri) if self._config.label_files == "polygons" else _instance_ids(uri)
        return _objects(ids) if self._config.level == "instance" else from_map(_classes(ids), provenance=Provenance.GT)


def _decoded(uri: str, decode: Callable[[bytes], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    try:
        return decode(files.read_bytes(uri))
    except ImageError as error:
        raise SourceError(f"{uri}: not a label file ({error})") from error


def _train_ids(uri: str) -> Map:
    found = _decoded(uri, decoding.decode_indices)
    if strange := np.setdiff1d(found, [*range(len(CLASS_IDS)), UNKNOWN]).tolist():
        raise SourceError(f"{uri}: holds train id {strange[0]}; there are 0 to {len(CLASS_IDS) - 1}, and {UNKNOWN}")
    return found


def _instance_ids(uri: str) -> Ids:
    found = _decoded(uri, decoding.decode_numbers)
    known = [*CLASS_IDS.values(), *VOID_IDS.values()]
    present = np.unique(found)
    labels = np.where(present < OBJECTS_FROM, present, present // OBJECTS_FROM)
    if strange := present[~np.isin(labels, known)].tolist():
        raise SourceError(f"{uri}: holds {strange[0]}, which is neither a label id of Cityscapes nor an object of one")
    return found


def _classes(ids: Ids) -> Map:
    """Return train ids, 255 where a pixel is of none of the classes."""
    table = np.full(OBJECTS_FROM, UNKNOWN, dtype=np.uint8)
    table[list(CLASS_IDS.values())] = range(len(CLASS_IDS))
    return np.asarray(table[np.where(ids < OBJECTS_FROM, ids, ids // OBJECTS_FROM)])


def _objects(ids: Ids) -> Instances:
    """Return the objects by rising number, then regions of several of them, then void."""
    class_of = {CLASS_IDS[name]: index for index, name in enumerate(OBJECT_CLASSES)}
    present = np.unique(ids).tolist()
    objects = [one for one in present if one // OBJECTS_FROM in class_of]
    groups = [one for one in present if one in class_of]
    masks = [ids == one for one in (*objects, *groups)]
    classes = [*(class_of[one // OBJECTS_FROM] for one in objects), *(class_of[one] for one in groups)]
    if (void := np.isin(ids, list(VOID_IDS.values()))).any():
        masks, classes = [*masks, void], [*classes, UNLABELED]
    return Instances.from_rle(
        [rle.encode(mask[None])[0] for mask in masks],
        (ids.shape[0], ids.shape[1]),
        provenance=[Provenance.GT] * len(objects) + [CROWD] * (len(masks) - len(objects)),
        classes=classes,
    )
