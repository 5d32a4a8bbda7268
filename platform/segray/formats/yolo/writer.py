"""YOLO-seg labels: a text file per image, a line per mask: class index, then x y of each corner as shares of the sides.

A line holds one polygon, so the parts of a mask and its holes are joined by bridges of no width: read back by the
even-odd rule (pycocotools, PIL) nothing but the simplification is lost; OpenCV's `fillPoly`, which also draws the
outline, thickens bridges and right and lower edges to a pixel. Scores and provenance have no place in the format.

- out/data.yaml: class names; images are looked for in out/images
- out/labels/<id>.txt: the id's folders and stem, so that out/images can be a link to the image folder
- out/index.jsonl: which image each label file belongs to, with its URI
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from segray.formats import polygons
from segray.formats.output import atomic_folder, create_unique_file, write_marker
from segray.formats.tally import EMPTY, ExportClasses, ExportSummary, ExportTally
from segray.masks import rle
from segray.masks.instances import Instances
from segray.store.rows import LabeledRow


def export_yolo(
    rows: Iterable[LabeledRow],
    out: Path,
    classes: Sequence[str],
    *,
    tolerance_px: float = polygons.TOLERANCE_PX,
    overwrite: bool = False,
) -> ExportSummary:
    """Write rows to the folder `out`.

    Raises:
        ExportError: `out` exists and may not be replaced, or a mask's class has no name.
    """
    tally, names = ExportTally(), ExportClasses(classes)
    with atomic_folder(out, overwrite=overwrite) as folder, (folder / "index.jsonl").open("w") as index:
        (folder / "labels").mkdir()
        for row, instances in tally.usable(rows):
            place = create_unique_file(folder / "labels", row.image.image_id, ".txt")
            place.path.write_text("".join(_lines(row, instances, names, tally, tolerance_px)))
            entry: dict[str, Any] = {"file": place.path.relative_to(folder).as_posix(), "image_id": row.image.image_id}
            entry |= {"uri": row.image.uri, "size_hw": list(instances.size_hw)}
            index.write(json.dumps(entry) + "\n")
            tally.named(row.image.image_id, entry["file"], kept=place.is_kept)
        (folder / "data.yaml").write_text(_data_yaml(names), encoding="utf-8")
        write_marker(folder, "yolo", tally.summary())
    return tally.summary()


def _lines(
    row: LabeledRow, instances: Instances, names: ExportClasses, tally: ExportTally, tolerance_px: float
) -> Iterable[str]:
    height, width = instances.size_hw
    for counts, class_id in zip(instances.counts, instances.classes, strict=True):
        parts = polygons.outline(rle.decode([counts], instances.size_hw)[0], tolerance_px=tolerance_px)
        if not parts:
            tally.left_out(EMPTY, row.image.image_id)
            continue
        tally.wrote()
        corners = (polygons.merged(parts) / (width, height)).reshape(-1)
        shares = " ".join(f"{share:.6f}" for share in corners)
        yield f"{names.index(int(class_id), row.image.image_id)} {shares}\n"


def _data_yaml(names: ExportClasses) -> str:
    listed = "".join(f"  {index}: {_quoted(name)}\n" for index, name in enumerate(names.names))
    return f"path: .\ntrain: images\nval: images\nnames:\n{listed}" if listed else "path: .\ntrain: images\nnames: {}\n"


def _quoted(name: str) -> str:
    """Return a text as YAML, whatever is in it. JSON's escapes of characters beyond 16 bits mean others in YAML."""
    return str(yaml.safe_dump(name, default_style='"', allow_unicode=True, width=sys.maxsize)).rstrip("\n")
