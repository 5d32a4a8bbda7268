"""The row: one image, as it travels and as it rests. Pinned Arrow schemas and the way between rows and `Instances`.

A source yields `SOURCE` rows, cheap to know and nothing opened. A stage that decodes the image leaves `LABELED` rows:
one per image and version, either with masks or with an error and its reason. Pixels are in neither.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from segray.masks.instances import Instances

SOURCE = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)
"""What a source knows of an image: a stable id, where it lies, and its etag or size + modification time."""

MASK = pa.struct(
    [
        pa.field("counts", pa.large_binary(), nullable=False),
        pa.field("bbox", pa.list_(pa.float32(), 4), nullable=False),
        pa.field("area", pa.int64(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("class_id", pa.int32(), nullable=False),
        pa.field("stability", pa.float32(), nullable=False),
        pa.field("point", pa.list_(pa.float32(), 2), nullable=False),
        pa.field("provenance", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("attributes", pa.string(), nullable=False),
    ]
)
"""One mask; the columns of `Instances` in the order of its fields, `bbox` as x0, y0, x1, y1 in pixels."""

LABELED = pa.schema(
    [
        *SOURCE,
        pa.field("sha256", pa.string()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("error", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("seconds", pa.float32(), nullable=False),
        pa.field("left_out", pa.list_(pa.string()), nullable=False),
        pa.field("masks", pa.large_list(MASK), nullable=False),
    ]
)
"""What a labeling stage leaves: `error` is a short stable reason (null where all went well), `detail` says more,
`seconds` is the time spent on this image by the stage's actor, `left_out` the reasons why objects that its source has
got no mask, one for each object."""


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One `SOURCE` row."""

    image_id: str
    uri: str
    version: str

    @property
    def key(self) -> bytes:
        """16 bytes that stand for (image_id, version): what stores compare to know what is done."""
        text = f"{len(self.image_id)}:{self.image_id}{self.version}".encode()
        return hashlib.blake2b(text, digest_size=16).digest()


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledRow:
    """One `LABELED` row. `instances` is None exactly where `error` is set."""

    image: ImageRow
    sha256: str | None = None
    error: str | None = None
    detail: str | None = None
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()
    """Why objects that the source has got no mask, a short reason for each."""
    instances: Instances | None = None

    @property
    def image_id(self) -> str:
        """The image's id within its source."""
        return self.image.image_id

    @property
    def uri(self) -> str:
        """The image's file."""
        return self.image.uri

    def __post_init__(self) -> None:
        if (self.error is None) == (self.instances is None):
            raise ValueError(f"{self.image.image_id}: either instances or an error is needed, got error={self.error!r}")


_PLAIN = ("sha256", "error", "detail", "seconds", "left_out")
"""Columns that are fields of `LabeledRow` under the same name."""


def source_table(rows: Sequence[ImageRow]) -> pa.Table:
    """`SOURCE` rows as a table."""
    return pa.table({name: [getattr(row, name) for row in rows] for name in SOURCE.names}, schema=SOURCE)


def image_rows(table: pa.Table | pa.RecordBatch) -> list[ImageRow]:
    """The way back; further columns are passed over."""
    columns = [table.column(name).to_pylist() for name in SOURCE.names]
    return [ImageRow(image_id=i, uri=u, version=v) for i, u, v in zip(*columns, strict=True)]


def labeled_table(rows: Sequence[LabeledRow]) -> pa.Table:
    """`LABELED` rows as a table, built column by column: no Python object is made per mask."""
    found = [row.instances if row.instances is not None else Instances.empty((0, 0)) for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(instances) for instances in found])])
    masks = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), _mask_array(found))
    columns: dict[str, Any] = {name: [getattr(row.image, name) for row in rows] for name in SOURCE.names}
    columns |= {name: [getattr(row, name) for row in rows] for name in _PLAIN}
    columns["height"] = [row.instances.size_hw[0] if row.instances is not None else None for row in rows]
    columns["width"] = [row.instances.size_hw[1] if row.instances is not None else None for row in rows]
    columns["masks"] = masks
    return pa.table({name: columns[name] for name in LABELED.names}, schema=LABELED)


def labeled_rows(table: pa.Table | pa.RecordBatch) -> list[LabeledRow]:
    """The way back. Run lengths are sliced out of the buffers, never through nested Python objects."""
    if isinstance(table, pa.Table):
        return [row for batch in table.to_batches() for row in labeled_rows(batch)]
    images = image_rows(table)
    plain = {name: table.column(name).to_pylist() for name in (*_PLAIN, "height", "width")}
    plain["left_out"] = [tuple(reasons) for reasons in plain["left_out"]]
    masks = table.column("masks")
    columns, starts = _mask_columns(masks), np.asarray(masks.offsets) - np.asarray(masks.offsets)[0]
    rows = []
    for index, image in enumerate(images):
        instances = None
        if plain["error"][index] is None:
            part = slice(int(starts[index]), int(starts[index + 1]))
            size_hw = (plain["height"][index], plain["width"][index])
            instances = Instances(size_hw=size_hw, **{name: column[part] for name, column in columns.items()})
        own = {name: plain[name][index] for name in _PLAIN}
        rows.append(LabeledRow(image=image, instances=instances, **own))
    return rows


def _mask_array(found: Sequence[Instances]) -> pa.StructArray:
    """All masks of all images, one after the other."""

    def column(name: str, empty: Any) -> Any:
        return np.concatenate([getattr(instances, name) for instances in found]) if found else empty

    boxes, points = column("boxes_xyxy", np.zeros((0, 4))), column("points_xy", np.zeros((0, 2)))
    arrays = [
        pa.array(column("counts", []), pa.large_binary()),
        pa.FixedSizeListArray.from_arrays(pa.array(boxes.reshape(-1), pa.float32()), 4),
        pa.array(column("areas", []), pa.int64()),
        pa.array(column("scores", []), pa.float32()),
        pa.array(column("classes", []), pa.int32()),
        pa.array(column("stabilities", []), pa.float32()),
        pa.FixedSizeListArray.from_arrays(pa.array(points.reshape(-1), pa.float32()), 2),
        *(pa.array(column(name, []), pa.string()) for name in ("provenance", "ids", "attributes")),
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(MASK))


def _mask_columns(masks: pa.LargeListArray) -> dict[str, Any]:
    """The columns of `Instances` for all masks of a batch, views where the types allow it."""
    flat = masks.flatten()
    column = {field.name: flat.field(field.name) for field in MASK}
    return {
        "counts": _bytes(column["counts"]),
        "boxes_xyxy": np.asarray(column["bbox"].flatten()).reshape(-1, 4),
        "areas": np.asarray(column["area"]),
        "scores": np.asarray(column["score"]),
        "classes": np.asarray(column["class_id"]),
        "stabilities": np.asarray(column["stability"]),
        "points_xy": np.asarray(column["point"].flatten()).reshape(-1, 2),
        "file_areas": np.full(len(flat), np.nan),
        **{
            name: np.asarray(column[field].to_numpy(zero_copy_only=False), dtype=object)
            for name, field in (("provenance", "provenance"), ("ids", "id"), ("attributes", "attributes"))
        },
    }


def _bytes(array: pa.LargeBinaryArray) -> np.ndarray[Any, np.dtype[np.object_]]:
    out = np.empty(len(array), dtype=object)
    out[:] = array.to_pylist()
    return out
