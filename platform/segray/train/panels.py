"""Panels: a few images of a run with their truth, guesses and predictions, as a file in the run's folder.

Knows pixels and instances; no HTML, no model.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from segray.data import files
from segray.data.rows import ImageRow, LabeledRow, labeled_rows, labeled_table
from segray.masks.instances import Instances

_FILE = "panels/panels.parquet"


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One image and what was made of it, to look at."""

    image_id: str
    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    columns: tuple[tuple[str, Instances], ...]
    """Title and masks, from the truth on the left to the student on the right."""


def save_panels(run: str, panels: Sequence[Panel]) -> None:
    """Write a run's panels: a row per image and column, as rows of a store with title and PNG beside."""
    flat = [(number, panel, column) for number, panel in enumerate(panels) for column in panel.columns]
    rows = [
        LabeledRow(image=ImageRow(image_id=panel.image_id, uri="", version=""), instances=instances)
        for _, panel, (_, instances) in flat
    ]
    table = labeled_table(rows)
    table = table.append_column("panel", pa.array([number for number, _, _ in flat], pa.int32()))
    table = table.append_column("title", pa.array([title for _, _, (title, _) in flat], pa.string()))
    table = table.append_column("png", pa.array([_png(panel.pixels) for _, panel, _ in flat], pa.binary()))
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    files.write_bytes_atomic(files.join(run, _FILE), stream.getvalue())


def load_panels(run: str) -> list[Panel]:
    """A run's panels; none where it left none."""
    uri = files.join(run, _FILE)
    if not files.exists(uri):
        return []
    table = parquet.read_table(io.BytesIO(files.read_bytes(uri)))
    beside = zip(*(table.column(name).to_pylist() for name in ("panel", "title", "png")), strict=True)
    rows = zip(beside, labeled_rows(table), strict=True)
    return [_panel(list(group)) for _, group in groupby(rows, key=lambda row: row[0][0])]


def _panel(rows: list[tuple[tuple[int, str, bytes], LabeledRow]]) -> Panel:
    (_, _, png), first = rows[0]
    columns = tuple((title, row.instances) for (_, title, _), row in rows if row.instances is not None)
    return Panel(image_id=first.image.image_id, pixels=_pixels(png), columns=columns)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    fine, data = cv2.imencode(".png", pixels[:, :, ::-1])
    assert fine, "any RGB picture can be written"
    return data.tobytes()


def _pixels(png: bytes) -> npt.NDArray[np.uint8]:
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(bgr[:, :, ::-1])
