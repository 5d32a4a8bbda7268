"""COCO instance JSON. Written as a stream: the file may be larger than memory.

Three forms of the masks:
- "rle": compressed run lengths, `iscrowd` 0; lossless; what pycocotools, detectron2 and most trainers read.
- "polygons": lists of polygons; a hole is joined to its outline by a bridge of no width; simplified by `tolerance_px`.
- "cvat": what CVAT's "COCO 1.0" import turns into shapes to edit: polygons with `iscrowd` 0 where a mask has no
  hole, uncompressed run lengths with `iscrowd` 1 where it has (there, `iscrowd` only says "this is a mask").
  CVAT writes brush masks the same way, so `iscrowd` 1 in a file from CVAT does not mean a crowd.

Beyond COCO's own keys an annotation has `score`, `stability` (null: not measured), `point` (null: none), `provenance`,
and where they are known `attributes`. Readers pass over keys they do not know. `file_name` is the image id,
by which CVAT and Label Studio match.

Where the images come from a COCO file, images, categories and annotations keep its numbers. Without such a file, image
ids are the same for an image in every export, and category ids are class ids + 1. Annotations without a number of their
own count on behind the largest one; an id that is no number, or that an earlier annotation has, stays as `source_id`.
"""

import json
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import segray
from segray.formats import polygons
from segray.formats.coco.ids import CocoIds
from segray.formats.output import atomic_file
from segray.formats.tally import EMPTY, ExportClasses, ExportSummary, ExportTally
from segray.masks import rle
from segray.masks.instances import Instances
from segray.store.rows import LabeledRow

_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")
NO_IDS = CocoIds()
Form = Literal["rle", "polygons", "cvat"]
Segment = Callable[[rle.Counts, tuple[int, int]], tuple[dict[str, Any] | list[list[int]], bool]]


def export_coco(
    rows: Iterable[LabeledRow],
    out: Path,
    classes: Sequence[str],
    *,
    form: Form = "rle",
    ids: CocoIds = NO_IDS,
    tolerance_px: float = polygons.TOLERANCE_PX,
    overwrite: bool = False,
) -> ExportSummary:
    """Write rows to the file `out`.

    Args:
        rows: images with their masks.
        out: the file.
        classes: names by class id.
        form: form of the masks.
        ids: numbers of the COCO file that the images come from.
        tolerance_px: largest distance of a polygon from the outline; 0 makes it exact, about four times as long.
        overwrite: replace the file that is there.

    Raises:
        ExportError: `out` exists and `overwrite` is not set, or a mask's class has no name.
    """
    tally, names = ExportTally(), ExportClasses(classes)
    segment = partial(_segmentation, form=form, tolerance_px=tolerance_px)
    with atomic_file(out, overwrite=overwrite) as file, tempfile.TemporaryFile(dir=out.parent) as annotations:
        file.write(f'{{"info": {json.dumps(_info())},\n"licenses": [],\n"images": ['.encode())
        numbers = AnnotationNumbers()
        for row, instances in tally.usable(rows):
            _write_item(file, _image(row, instances, ids), first=tally.images == 1)
            for annotation in _annotations(row, instances, names, tally, segment, ids):
                own = numbers.take(annotation.pop("source_id"))
                annotations.write(_json({"id": None, **annotation, **own}) + b"\n")
        file.write(b'],\n"annotations": [')
        annotations.seek(0)
        for index, line in enumerate(numbers.fill(annotations)):
            file.write((b",\n" if index else b"\n") + line)
        file.write(f'],\n"categories": {json.dumps(_categories(names, ids))}}}\n'.encode())
    return tally.summary()


class AnnotationNumbers:
    """Numbers of annotations: those that they have, and behind these one for each other annotation.

    Which is the largest of them is known at the end, so that annotations are written without a number first.
    """

    _WITHOUT = b'{"id":null,'

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def take(self, own: str) -> dict[str, Any]:
        """Return what an annotation says of its own id: its number if nothing has it yet, else the id as text."""
        if not _NUMBER.fullmatch(own):
            return {"source_id": own} if own else {}
        if (number := int(own)) in self._taken:
            return {"source_id": own}
        self._taken.add(number)
        return {"id": number}

    def fill(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yield annotations, each with a number."""
        following = max(self._taken, default=0) + 1
        for line in lines:
            text = line.rstrip(b"\n")
            if text.startswith(self._WITHOUT):
                text = b'{"id":%d,' % following + text.removeprefix(self._WITHOUT)
                following += 1
            yield text


def _write_item(file: IO[bytes], item: dict[str, Any], *, first: bool) -> None:
    file.write((b"\n" if first else b",\n") + _json(item))


def _json(item: dict[str, Any]) -> bytes:
    return json.dumps(item, allow_nan=False, separators=(",", ":")).encode()


def _info() -> dict[str, str]:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"description": "masks exported by segray", "version": segray.__version__, "date_created": created}


def _categories(classes: ExportClasses, ids: CocoIds) -> list[dict[str, Any]]:
    named = enumerate(classes.names)
    return [{"id": ids.category(index, name), "name": name, "supercategory": ""} for index, name in named]


def _image(row: LabeledRow, instances: Instances, ids: CocoIds) -> dict[str, Any]:
    height, width = instances.size_hw
    name = row.image.image_id
    return {"id": ids.image(name), "file_name": name, "width": width, "height": height}


def _annotations(
    row: LabeledRow,
    instances: Instances,
    classes: ExportClasses,
    tally: ExportTally,
    segment: Segment,
    ids: CocoIds,
) -> Iterator[dict[str, Any]]:
    areas = instances.coco_areas().tolist()
    for index, counts in enumerate(instances.counts):
        segmentation, is_crowd = segment(counts, instances.size_hw)
        if not segmentation:
            tally.left_out(EMPTY, row.image.image_id)
            continue
        tally.wrote()
        x0, y0, x1, y1 = (round(float(side), 3) for side in instances.boxes_xyxy[index])
        class_index = classes.index(int(instances.classes[index]), row.image.image_id)
        yield {
            "image_id": ids.image(row.image.image_id),
            "category_id": ids.category(class_index, classes.names[class_index]),
            "segmentation": segmentation,
            "area": int(area) if (area := areas[index]).is_integer() else area,
            "bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)],
            "iscrowd": int(is_crowd),
            "score": _number(instances.scores[index]),
            "stability": _number(instances.stabilities[index]),
            "point": _point(instances, index),
            "provenance": str(instances.provenance[index]),
            "source_id": str(instances.ids[index]),
            **({"attributes": json.loads(text)} if (text := instances.attributes[index]) else {}),
        }


def _segmentation(
    counts: rle.Counts, size_hw: tuple[int, int], *, form: Form, tolerance_px: float
) -> tuple[dict[str, Any] | list[list[int]], bool]:
    """The mask in the wanted form (an empty list where an empty mask has no polygon), and its `iscrowd`."""
    size = [int(size_hw[0]), int(size_hw[1])]
    if form == "rle":
        return {"size": size, "counts": counts.decode("ascii")}, False
    parts = polygons.outline(rle.decode([counts], size_hw)[0], tolerance_px=tolerance_px)
    if form == "cvat" and any(part.holes for part in parts):
        return {"size": size, "counts": rle.to_runs(counts).tolist()}, True
    return [polygons.bridged(part).reshape(-1).tolist() for part in parts], False


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def _point(instances: Instances, index: int) -> list[float | None] | None:
    x, y = (_number(value) for value in instances.points_xy[index])
    return None if x is None or y is None else [x, y]
