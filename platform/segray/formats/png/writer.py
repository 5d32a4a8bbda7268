"""One PNG per mask: a folder per image, 0 outside and 255 inside, numbered in the order of the masks. Lossless.

- out/masks/<id>/000.png
- out/index.jsonl: an object per image: its id, URI and folder, and per mask file, class, its index in
  labels.txt, score, stability, point, area, box, provenance, and the id and attributes that the object has in its own
  file
- out/labels.txt: class names by index
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segray.errors import ExportError
from segray.formats.label_names import LABELS, labels_text
from segray.formats.output import atomic_folder, create_unique_folder, write_marker
from segray.formats.tally import ExportClasses, ExportSummary, ExportTally
from segray.masks import rle
from segray.masks.instances import UNLABELED, Instances
from segray.store.rows import LabeledRow


def export_png(
    rows: Iterable[LabeledRow], out: Path, classes: Sequence[str], *, overwrite: bool = False
) -> ExportSummary:
    """Write rows to the folder `out`.

    Raises:
        ExportError: `out` exists and may not be replaced, or a mask's class has no name.
    """
    tally, names = ExportTally(), ExportClasses(classes)
    with atomic_folder(out, overwrite=overwrite) as folder, (folder / "index.jsonl").open("w") as index:
        (folder / "masks").mkdir()
        for row, instances in tally.usable(rows):
            place = create_unique_folder(folder / "masks", row.image.image_id)
            own = place.path
            masks = [_write_mask(own / f"{i:03}.png", instances, i) for i in range(len(instances))]
            for mask, class_id in zip(masks, instances.classes, strict=True):
                known = class_id != UNLABELED
                mask["class_id"] = names.index(int(class_id), row.image.image_id) if known else None
                mask["class"] = names.names[mask["class_id"]] if known else None
            entry: dict[str, Any] = {"image_id": row.image.image_id, "uri": row.image.uri}
            entry["size_hw"] = list(instances.size_hw)
            entry |= {"folder": own.relative_to(folder).as_posix(), "masks": masks}
            index.write(json.dumps(entry, allow_nan=False) + "\n")
            tally.named(row.image.image_id, entry["folder"], kept=place.is_kept)
            tally.wrote(len(instances))
        (folder / LABELS).write_text(labels_text(names.names), encoding="utf-8", newline="")
        write_marker(folder, "png", tally.summary())
    return tally.summary()


def _write_mask(path: Path, instances: Instances, index: int) -> dict[str, Any]:
    """Write one mask; what the index says of it."""
    mask = rle.decode([instances.counts[index]], instances.size_hw)[0]
    fine, data = cv2.imencode(".png", mask.astype(np.uint8) * np.uint8(255), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not fine:
        raise ExportError(f"a mask of {instances.size_hw} pixels is more than a PNG can be written of: {path.name}")
    path.write_bytes(data.tobytes())
    point = [float(value) for value in instances.points_xy[index]]
    stability = float(instances.stabilities[index])
    return {
        "file": path.name,
        "score": round(float(instances.scores[index]), 6),
        "stability": None if math.isnan(stability) else round(stability, 6),
        "point": None if math.isnan(sum(point)) else point,
        "area": int(instances.areas[index]),
        "box_xyxy": [round(float(side), 3) for side in instances.boxes_xyxy[index]],
        "provenance": str(instances.provenance[index]),
        "id": str(instances.ids[index]),
        "attributes": str(instances.attributes[index]),
    }
