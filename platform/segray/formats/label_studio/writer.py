"""Pre-annotations for Label Studio: tasks with brush masks as predictions, to be corrected there. Lossless.

- out/tasks.json: import this; per mask its label and score, `meta` keeps stability, provenance, and the id and
  attributes that the object has in its own file; why a mask is to be reviewed is shown as its note
- out/config.xml: the labeling interface that the tasks fit; paste it into the project's settings first

Images with a URI of http(s), s3, gs or azure-blob are referred to by it (the project needs a storage connection for
the latter). All others are referred to as Label Studio serves local files, `/data/local-files/?d=<image id>`: start
it with LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT set to the image folder. `data.image_id` names
the image for the way back, `data.height` and `data.width` tell its size where nothing is marked.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from segray.formats.label_studio import brush
from segray.formats.output import atomic_folder, write_marker
from segray.formats.tally import ExportClasses, ExportSummary, ExportTally, image_number
from segray.masks.instances import REVIEW, Instances
from segray.store.rows import ImageRow, LabeledRow

CONTROL, IMAGE = "label", "image"
"""Names that results refer to, of the tags in the labeling interface."""

_SERVED = re.compile(r"(https?|s3|gs|azure-blob)://")


def image_url(image: ImageRow) -> str:
    """Where Label Studio finds an image; see the module."""
    if _SERVED.match(image.uri):
        return image.uri
    return f"/data/local-files/?d={quote(image.image_id, errors='replace')}"


def export_label_studio(
    rows: Iterable[LabeledRow],
    out: Path,
    classes: Sequence[str],
    *,
    model_version: str,
    url: Callable[[ImageRow], str] = image_url,
    overwrite: bool = False,
) -> ExportSummary:
    """Write rows to the folder `out`. `model_version` is what Label Studio tells predictions apart by.

    Raises:
        ExportError: `out` exists and may not be replaced, or a mask's class has no name.
    """
    tally, names = ExportTally(), ExportClasses(classes)
    with atomic_folder(out, overwrite=overwrite) as folder:
        with (folder / "tasks.json").open("w", encoding="utf-8") as file:
            opening = "[\n"
            for row, instances in tally.usable(rows):
                task = _task(row, instances, names, model_version=model_version, url=url(row.image))
                file.write(opening + json.dumps(task, allow_nan=False, separators=(",", ":")))
                tally.wrote(len(instances))
                opening = ",\n"
            file.write("[]\n" if tally.images == 0 else "\n]\n")
        (folder / "config.xml").write_text(label_config(names.names), encoding="utf-8")
        write_marker(folder, "label-studio", tally.summary())
    return tally.summary()


def label_config(labels: Sequence[str]) -> str:
    """The labeling interface: an image and a brush per label."""
    listed = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in labels)
    return (
        f'<View>\n  <Image name="{IMAGE}" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="{CONTROL}" toName="{IMAGE}">\n{listed}  </BrushLabels>\n</View>\n'
    )


def _task(
    row: LabeledRow, instances: Instances, names: ExportClasses, *, model_version: str, url: str
) -> dict[str, Any]:
    prediction: dict[str, Any] = {"model_version": model_version, "result": list(_results(row, instances, names))}
    if len(instances):
        prediction["score"] = round(float(instances.scores.mean()), 6)
    height, width = instances.size_hw
    data = {"image": url, "image_id": row.image.image_id, "height": height, "width": width}
    return {"data": data, "predictions": [prediction]}


def _results(row: LabeledRow, instances: Instances, names: ExportClasses) -> Iterator[dict[str, Any]]:
    height, width = instances.size_hw
    for index, counts in enumerate(instances.counts):
        label = names.names[names.index(int(instances.classes[index]), row.image.image_id)]
        stability = float(instances.stabilities[index])
        meta: dict[str, Any] = {"provenance": str(instances.provenance[index])}
        if not math.isnan(stability):
            meta["stability"] = f"{stability:.6f}"
        meta |= _kept(instances, index)
        yield {
            "id": f"{image_number(row.image.image_id):x}-{index}",
            "type": "brushlabels",
            "from_name": CONTROL,
            "to_name": IMAGE,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {"format": "rle", "rle": brush.encode(counts, instances.size_hw), "brushlabels": [label]},
            "score": round(float(instances.scores[index]), 6),
            "meta": meta,
        }


def _kept(instances: Instances, index: int) -> dict[str, Any]:
    """Return what the object's own file knows of it; Label Studio shows `text` beside the region."""
    own_id, attributes = str(instances.ids[index]), str(instances.attributes[index])
    kept: dict[str, Any] = {"source_id": own_id} if own_id else {}
    if attributes:
        reason = json.loads(attributes).get(REVIEW)
        kept |= {"attributes": attributes} | ({"text": [f"{REVIEW}: {reason}"]} if reason else {})
    return kept
