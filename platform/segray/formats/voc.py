"""Class maps as Pascal VOC has them: a PNG of indices per image.

0 is background, 255 unknown. Read: images beside index PNGs of the same stems, one mask per class that an image shows,
the background among them, so that nothing is lost; objects of a class are not told apart, and a folder of objects
(SegmentationObject) is not read. Written, with VOC's palette: where masks overlap the smaller one wins; scores and
instances have no place in the format.

- out/SegmentationClass/<id>.png: the id's folders and stem
- out/ImageSets/Segmentation/all.txt: what was written, without suffix
- out/labels.txt: class names by index
- out/index.jsonl: which image each map belongs to, with its URI
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from segray.config.base import config
from segray.config.uris import InputUri
from segray.errors import ExportError, ImageError, SourceError
from segray.formats.format import Format, Reader, Writer
from segray.formats.output import claim_file, whole_folder, write_marker
from segray.formats.source import SourceSettings
from segray.formats.tally import ExportSummary, ExportTally
from segray.images import decoding
from segray.masks import rle
from segray.masks.instances import UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.masks.semantic import BACKGROUND, UNKNOWN, first_index, paint
from segray.storage import files
from segray.store.rows import ImageRow, LabeledRow


@config
class VocSource(SourceSettings):
    """An image folder beside a folder of index PNGs of the same stems, as in Pascal VOC; ids are paths below it."""

    kind: Literal["voc"] = "voc"
    uri: InputUri
    """The image folder (VOC: JPEGImages)."""
    masks: InputUri
    """The folder of class maps (VOC: SegmentationClass): 0 background, 255 unknown."""
    classes: tuple[str, ...] = ()
    """Class names by index, background first; numbers where not given."""
    name: str | None = None
    """The name of this data set in a store; defaults to the URI."""


class VocImages:
    """The images below one folder, with the class maps that another one holds for some of them."""

    def __init__(self, config: VocSource) -> None:
        self._uri, self._masks = config.uri, config.masks
        self._named = bool(config.classes)
        self.classes: tuple[str, ...] = config.classes or tuple(str(index) for index in range(UNKNOWN))

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        for entry in files.list_files(self._uri, decoding.SUFFIXES):
            yield ImageRow(image_id=entry.path, uri=entry.uri, version=entry.version)

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:  # noqa: ARG002 - class maps have no crowds
        """See `Source`."""
        uri = files.join(self._masks, PurePosixPath(image_id).with_suffix(".png").as_posix())
        if files.version(uri) is None:
            return None
        try:
            indices = decoding.decode_indices(files.read_bytes(uri))
        except ImageError as error:
            raise SourceError(f"{uri}: not a class map ({error})") from error
        present = np.unique(indices)
        present = present[present != UNKNOWN]
        if len(present) and present[-1] >= len(self.classes):
            raise SourceError(f"{uri}: holds class {present[-1]}, but {len(self.classes)} classes are named")
        counts = [rle.encode((indices == index)[None])[0] for index in present]
        return Instances.from_rle(counts, indices.shape, provenance=Provenance.GT, classes=present)


def export_voc(
    rows: Iterable[LabeledRow],
    out: Path,
    classes: Sequence[str],
    *,
    uncovered: Literal[0, 255] = UNKNOWN,
    overwrite: bool = False,
) -> ExportSummary:
    """Write rows to the folder `out`.

    Class ids become indices as they are where the first class is called "background", else plus one. `uncovered` is
    what pixels under no mask become: 255 (machine labels: nobody looked), or 0 where every object has a mask.

    Raises:
        ExportError: `out` exists and may not be replaced, a mask has no class or one without a name, or there are
            more classes than indices.
    """
    shift = first_index(classes)
    names = list(classes) if shift == 0 else [BACKGROUND, *classes]
    if len(names) > UNKNOWN:
        raise ExportError(f"{len(names)} classes with the background, but index PNGs hold 255: export COCO instead")
    tally, palette = ExportTally(), voc_palette().tobytes()
    with whole_folder(out, overwrite=overwrite) as folder, (folder / "index.jsonl").open("w") as index:
        maps, sets = folder / "SegmentationClass", folder / "ImageSets" / "Segmentation"
        maps.mkdir()
        sets.mkdir(parents=True)
        with (sets / "all.txt").open("w", encoding="utf-8") as listed:
            for row, instances in tally.usable(rows):
                _check_classes(row, instances, len(classes))
                path = claim_file(maps, row.image.image_id, ".png")
                _write_map(path, class_map(instances, shift, uncovered), palette)
                tally.wrote(len(instances))
                listed.write(path.relative_to(maps).with_suffix("").as_posix() + "\n")
                told = {"file": path.relative_to(folder).as_posix(), "image_id": row.image.image_id}
                index.write(json.dumps(told | {"uri": row.image.uri}) + "\n")
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        write_marker(folder, "voc", tally.summary())
    return tally.summary()


def class_map(instances: Instances, shift: int, uncovered: int) -> npt.NDArray[np.uint8]:
    """Indices (H, W): class ids plus `shift`, `uncovered` where no mask lies."""
    painted = paint(instances, UNKNOWN)
    return np.where(painted == UNKNOWN, uncovered, painted + np.uint8(shift)).astype(np.uint8)


def voc_palette() -> npt.NDArray[np.uint8]:
    """VOC's 256 colours, (256, 3): bits 0, 3, 6 of an index are the high bits of red; 1, 4, 7 green; 2, 5 blue."""
    index = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for place in range(3):
        for channel in range(3):
            bit = (index >> (3 * place + channel)) & 1
            colours[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return colours


def _write_map(path: Path, indices: npt.NDArray[np.uint8], palette: bytes) -> None:
    image = Image.fromarray(indices, mode="L")
    image.putpalette(palette)
    image.save(path, format="PNG", optimize=False)


def _check_classes(row: LabeledRow, instances: Instances, number: int) -> None:
    if np.any(instances.classes == UNLABELED):
        raise ExportError(
            f"masks of image {row.image.image_id!r} have no class, and a class map shows nothing else:"
            " classify them first, or export COCO or PNG masks"
        )
    if len(instances) and not (instances.classes.min() >= 0 and instances.classes.max() < number):
        raise ExportError(
            f"masks of image {row.image.image_id!r} have classes up to {instances.classes.max()}, but {number} class"
            " names were given: give the names of all classes in the order of their ids"
        )


FORMAT = Format(
    reader=Reader(VocSource, VocImages),
    writers=[Writer("voc", "class maps as index PNGs, as in Pascal VOC", export_voc)],
)
