"""Panels on disk: PNGs and what was made of each image as run lengths, so that a report can be drawn at any time."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from segray.masks.instances import Instances
from segray.storage import files

FOLDER, CARD = "panels", "panels.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One image and what was made of it, to look at."""

    image_id: str
    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    columns: tuple[tuple[str, Instances], ...]
    """Title and masks, from the truth on the left to the student on the right."""


def write_panels(run: str, panels: Sequence[Panel]) -> None:
    """Write them into the run's folder, the list last."""
    entries = []
    for number, panel in enumerate(panels):
        stream = io.BytesIO()
        Image.fromarray(panel.pixels).save(stream, "PNG")
        name = f"{number:04d}.png"
        files.write_bytes_atomic(files.join(run, FOLDER, name), stream.getvalue())
        columns = [{"title": title, **_plain(found)} for title, found in panel.columns]
        entries.append({"image_id": panel.image_id, "png": name, "columns": columns})
    files.write_bytes_atomic(files.join(run, FOLDER, CARD), json.dumps(entries).encode())


def read_panels(run: str) -> list[Panel]:
    """What `write_panels` wrote; none where a run has not come that far."""
    uri = files.join(run, FOLDER, CARD)
    if not files.exists(uri):
        return []
    panels = []
    for entry in json.loads(files.read_bytes(uri)):
        stream = io.BytesIO(files.read_bytes(files.join(run, FOLDER, entry["png"])))
        pixels = np.asarray(Image.open(stream).convert("RGB"))
        size_hw = (pixels.shape[0], pixels.shape[1])
        columns = tuple((one["title"], _instances(one, size_hw)) for one in entry["columns"])
        panels.append(Panel(image_id=entry["image_id"], pixels=pixels, columns=columns))
    return panels


def _plain(found: Instances) -> dict[str, list[object]]:
    return {
        "counts": [one.decode("ascii") for one in found.counts],
        "classes": found.classes.tolist(),
        "scores": [round(float(score), 4) for score in found.scores],
        "provenance": list(found.provenance),
    }


def _instances(one: dict[str, list[str]], size_hw: tuple[int, int]) -> Instances:
    return Instances.from_rle(
        [counts.encode("ascii") for counts in one["counts"]],
        size_hw,
        provenance=one["provenance"],
        scores=one["scores"],
        classes=one["classes"],
    )
