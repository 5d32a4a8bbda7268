"""Class maps as Pascal VOC has them, with its palette: a PNG of indices per image, 0 background, 255 unknown.

Where masks overlap the smaller one wins, and masks that lose pixels are counted; scores, ids and instances have no
place in the format.

- out/SegmentationClass/<id>.png: the id's folders and stem
- out/ImageSets/Segmentation/all.txt: what was written, without suffix
- out/labels.txt: class names by index
- out/index.jsonl: which image each map belongs to, with its URI
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from segray.errors import ExportError
from segray.formats.label_names import LABELS, labels_text
from segray.formats.output import atomic_folder, create_unique_file, write_marker
from segray.formats.tally import ExportSummary, ExportTally
from segray.masks import rle
from segray.masks.instances import UNLABELED, Instances
from segray.masks.semantic import BACKGROUND, UNKNOWN, first_index, paint
from segray.store.rows import LabeledRow
from segray.tally import Reason

UNLISTED = Reason("unlisted", "have a line break, which no line of all.txt can hold")
HIDDEN = Reason("hidden", "lose pixels under smaller masks")


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
    with atomic_folder(out, overwrite=overwrite) as folder, (folder / "index.jsonl").open("w") as index:
        maps, sets = folder / "SegmentationClass", folder / "ImageSets" / "Segmentation"
        maps.mkdir()
        sets.mkdir(parents=True)
        with (sets / "all.txt").open("w", encoding="utf-8", errors="surrogateescape") as listed:
            for row, instances in tally.usable(rows):
                _check_classes(row, instances, len(classes))
                place = create_unique_file(maps, row.image.image_id, ".png")
                path = place.path
                _write_map(path, class_map(instances, shift, uncovered), palette)
                tally.wrote(len(instances))
                tally.note("masks", HIDDEN, row.image.image_id, num_hidden(instances))
                stem = path.relative_to(maps).with_suffix("").as_posix()
                if len(stem.splitlines()) == 1:
                    listed.write(f"{stem}\n")
                else:
                    tally.note("file names", UNLISTED, repr(stem))
                entry = {"file": path.relative_to(folder).as_posix(), "image_id": row.image.image_id}
                index.write(json.dumps(entry | {"uri": row.image.uri}) + "\n")
                tally.named(row.image.image_id, entry["file"], kept=place.is_kept)
        (folder / LABELS).write_text(labels_text(names), encoding="utf-8", newline="")
        write_marker(folder, "voc", tally.summary())
    return tally.summary()


def class_map(instances: Instances, shift: int, uncovered: int) -> npt.NDArray[np.uint8]:
    """Indices (H, W): class ids plus `shift`, `uncovered` where no mask lies."""
    painted = paint(instances, UNKNOWN)
    return np.where(painted == UNKNOWN, uncovered, painted + np.uint8(shift)).astype(np.uint8)


def num_hidden(instances: Instances) -> int:
    """Return the number of masks of which a map does not show every pixel, because smaller masks lie over them."""
    hidden, smaller = 0, np.zeros(instances.size_hw, dtype=bool)
    for index in np.argsort(instances.areas, kind="stable"):
        mask = rle.decode([instances.counts[index]], instances.size_hw)[0]
        hidden += bool((mask & smaller).any())
        smaller |= mask
    return hidden


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
