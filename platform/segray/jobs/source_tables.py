"""The `source` table of a config from what a person names in Python: a folder, a file, a list of files, a store."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from segray.config import base
from segray.errors import ConfigError
from segray.formats.format import SourceSettings
from segray.formats.source import images_beside, is_task_list
from segray.storage import files
from segray.store import Store

Images = str | Path | Mapping[str, Any] | Sequence[str | Path] | SourceSettings | Store
"""A folder of images; a COCO or Label Studio JSON file, whose images lie in `images` beside it or else in its folder; a
Parquet manifest; a list of image files; a store of an earlier job; or the `source` table of a config."""


Boxes = str | Path | Mapping[str, Sequence[Sequence[float]]]
"""A CSV or Parquet table of boxes (docs/data.md#tables-of-boxes), a COCO JSON file, or boxes (x0, y0, x1, y1) in pixels
by the image's name."""


def source_table(images: Images, lists: str) -> dict[str, Any]:
    """Return the table; a list of files is written as a manifest into the folder `lists`.

    Raises:
        ConfigError: the images are given in no way that is known.
        SourceError: a JSON file cannot be read.
    """
    if isinstance(images, Store):
        return {"kind": "store", "uri": images.uri}
    if isinstance(images, Mapping):
        return dict(images)
    if is_dataclass(images):
        return dict(base.plain(images))
    if isinstance(images, str | Path):
        return _named(str(images))
    if isinstance(images, Sequence) and images and all(isinstance(one, str | Path) for one in images):
        # Whoever calls gives these names, not a file from elsewhere.
        return {"kind": "manifest", "uri": _manifest([str(one) for one in images], lists), "outside": True}
    raise ConfigError(f"source: give a folder, a file, a list of image files or a store, got {type(images).__name__}")


def prompt_table(images: Images, boxes: Boxes, tables: str) -> dict[str, Any]:
    """Return the table of a folder's images with boxes; boxes by image name are written into the folder `tables`.

    Raises:
        ConfigError: the images are no folder, or the boxes are given in no way that is known.
    """
    if not isinstance(images, str | Path):
        raise ConfigError(f"source: boxes need the folder of their images, got {type(images).__name__}")
    if isinstance(boxes, Mapping):
        boxes = _box_table(boxes, tables)
    suffix = files.name(str(boxes)).lower().rpartition(".")[2]
    if suffix in ("csv", "parquet"):
        return {"kind": "table", "uri": str(images), "table": str(boxes)}
    if suffix == "json":
        return {"kind": "coco", "uri": str(images), "annotations": str(boxes)}
    raise ConfigError(f"boxes: give a .csv, .parquet or COCO .json file, or boxes by image name, got {boxes!r}")


def _box_table(boxes: Mapping[str, Sequence[Sequence[float]]], folder: str) -> str:
    """Write a table of boxes, under a name that the boxes decide."""
    named = [(name, *map(float, box)) for name, several in boxes.items() for box in several]
    columns = zip(("image", "x0", "y0", "x1", "y1"), zip(*named, strict=True), strict=True)
    table = pa.table(dict(columns))
    stream = io.BytesIO()
    pq.write_table(table, stream)
    uri = files.join(folder, f"boxes-{hashlib.sha256(repr(named).encode()).hexdigest()[:12]}.parquet")
    files.write_bytes_atomic(uri, stream.getvalue())
    return uri


def _named(uri: str) -> dict[str, Any]:
    if uri.endswith(".parquet"):
        return {"kind": "manifest", "uri": uri}
    if not uri.endswith(".json"):
        return {"kind": "folder", "uri": uri}
    return {
        "kind": "label-studio" if is_task_list(uri) else "coco",
        "uri": images_beside(uri),
        "annotations": uri,
    }


def _manifest(paths: Sequence[str], folder: str) -> str:
    """Write the manifest of these images, under a name that the list decides; ids are the paths as given."""
    stream = io.BytesIO()
    pq.write_table(pa.table({"image_id": paths, "uri": [files.absolute(path) for path in paths]}), stream)
    name = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:12]
    uri = files.join(folder, f"list-{name}.parquet")
    files.write_bytes_atomic(uri, stream.getvalue())
    return uri
