"""COCO instance JSON. Written as a stream: the file may be larger than memory.

Three forms of the masks:
- "rle": compressed run lengths, `iscrowd` 0; lossless; what pycocotools, detectron2 and most trainers read.
- "polygons": lists of polygons; a hole is joined to its outline by a bridge of no width; simplified by `tolerance_px`.
- "cvat": what CVAT's "COCO 1.0" import turns into shapes to edit: polygons with `iscrowd` 0 where a mask has no
  hole, uncompressed run lengths with `iscrowd` 1 where it has (there, `iscrowd` only says "this is a mask").
  CVAT writes brush masks the same way, so `iscrowd` 1 in a file from CVAT does not mean a crowd.

Beyond COCO's own keys an annotation has `score`, `stability` (null: not measured), `point` (null: none),
`provenance`, and where they are known `source_id` (the object's id in its own file) and `attributes`. Readers pass over
keys they do not know. Image ids are the same for an image in every export; annotation ids count from 1; category ids
are class ids + 1; `file_name` is the image id, by which CVAT and Label Studio match.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import segray
from segray.formats import polygons
from segray.formats.output import atomic_file
from segray.formats.tally import ExportClasses, ExportSummary, ExportTally, image_number
from segray.masks import rle
from segray.masks.instances import Instances
from segray.store.rows import LabeledRow

Form = Literal["rle", "polygons", "cvat"]
Segment = Callable[[rle.Counts, tuple[int, int]], tuple[dict[str, Any] | list[list[int]], bool]]


def export_coco(
    rows: Iterable[LabeledRow],
    out: Path,
    classes: Sequence[str],
    *,
    form: Form = "rle",
    tolerance_px: float = polygons.TOLERANCE_PX,
    overwrite: bool = False,
) -> ExportSummary:
    """Write rows to the file `out`. `tolerance_px` 0 makes polygons exact, about four times as long.

    Raises:
        ExportError: `out` exists and `overwrite` is not set, or a mask's class has no name.
    """
    tally, names = ExportTally(), ExportClasses(classes)
    segment = partial(_segmentation, form=form, tolerance_px=tolerance_px)
    with atomic_file(out, overwrite=overwrite) as file, tempfile.TemporaryFile(dir=out.parent) as annotations:
        file.write(f'{{"info": {json.dumps(_info())},\n"licenses": [],\n"images": ['.encode())
        for row, instances in tally.usable(rows):
            _write_item(file, _image(row, instances), first=tally.images == 1)
            for annotation in _annotations(row, instances, names, tally, segment):
                _write_item(annotations, annotation, first=tally.masks == 1)
        file.write(b'],\n"annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        file.write(f'],\n"categories": {json.dumps(_categories(names))}}}\n'.encode())
    return tally.summary()


def _write_item(file: IO[bytes], item: dict[str, Any], *, first: bool) -> None:
    text = json.dumps(item, allow_nan=False, separators=(",", ":"))
    file.write(b"\n" + text.encode() if first else b",\n" + text.encode())


def _info() -> dict[str, str]:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"description": "masks exported by segray", "version": segray.__version__, "date_created": created}


def _categories(classes: ExportClasses) -> list[dict[str, Any]]:
    return [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(classes.names, start=1)]


def _image(row: LabeledRow, instances: Instances) -> dict[str, Any]:
    height, width = instances.size_hw
    name = row.image.image_id
    return {"id": image_number(name), "file_name": name, "width": width, "height": height}


def _annotations(
    row: LabeledRow, instances: Instances, classes: ExportClasses, tally: ExportTally, segment: Segment
) -> Iterator[dict[str, Any]]:
    for index, counts in enumerate(instances.counts):
        segmentation, is_crowd = segment(counts, instances.size_hw)
        if not segmentation:
            tally.left_out("empty")
            continue
        tally.wrote()
        x0, y0, x1, y1 = (round(float(side), 3) for side in instances.boxes_xyxy[index])
        yield {
            "id": tally.masks,
            "image_id": image_number(row.image.image_id),
            "category_id": classes.index(int(instances.classes[index]), row.image.image_id) + 1,
            "segmentation": segmentation,
            "area": int(instances.areas[index]),
            "bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)],
            "iscrowd": int(is_crowd),
            "score": _number(instances.scores[index]),
            "stability": _number(instances.stabilities[index]),
            "point": _point(instances, index),
            "provenance": str(instances.provenance[index]),
            **_kept(instances, index),
        }


def _kept(instances: Instances, index: int) -> dict[str, Any]:
    """Return what the object's own file knows of it: its id there, and attributes, the review mark among them."""
    found: dict[str, Any] = {"source_id": instances.ids[index]} if instances.ids[index] else {}
    text = instances.attributes[index]
    return found | ({"attributes": json.loads(text)} if text else {})


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
