"""A table of boxes and points as a source: images by the names in its column `image`.

Columns: `image`; a box as `x0`, `y0`, `x1`, `y1` or as `x`, `y`, `w`, `h`; a point as `px`, `py` and `on` (1 on the
object, 0 off it; 1 where absent); `class` (a name), `score`, `id`. Rows of one image and one `id` are one object, so
that it can have several points, or points and a box. Every further column is an attribute.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from segray.errors import SourceError
from segray.formats.source import name_problem, refuse, rows_by_name
from segray.formats.table import TableSource
from segray.masks.instances import UNLABELED
from segray.masks.object_prompts import ON, ObjectPrompts
from segray.storage import files
from segray.store.rows import ImageRow
from segray.tally import Tally

_CORNERS: Final = ("x0", "y0", "x1", "y1")
_SIDES: Final = ("x", "y", "w", "h")
_POINT: Final = ("px", "py")
_NONE: Final = (None, "")
_OWN: Final = frozenset(("image", "class", "score", "id", "on", *_CORNERS, *_SIDES, *_POINT))


class TableImages:
    """The images that a table names, with the boxes and points that it has for them."""

    def __init__(self, config: TableSource) -> None:
        """Read and check the table.

        Raises:
            SourceError: it cannot be read, or lacks columns.
        """
        self._folder, self._uri, self._relative = config.uri, config.table, config.units == "relative"
        table = _read(self._uri)
        self._columns = _checked(table, self._uri)
        self._numbers = {name: _numbers(table, name, self._uri) for name in (*self._columns, "score", "on")}
        self._further = [name for name in table.column_names if name not in _OWN]
        self._table = table
        names = table["class"].to_pylist() if "class" in table.column_names else []
        self._outside, self.tally = config.outside, Tally()
        self.classes: tuple[str, ...] = tuple(sorted({str(name) for name in names if name not in _NONE}))
        self._rows: dict[str, list[int]] = {}
        for index, name in enumerate(table["image"].to_pylist()):
            self._rows.setdefault(name, []).append(index)

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`; in the table's order."""
        yield from rows_by_name(self._folder, {name: name for name in self._rows}, outside=self._outside)

    def instances(self, image_id: str, *, crowds: bool = False) -> None:  # noqa: ARG002 - a table has no masks
        """Return None: a table has boxes and points, no masks."""
        return

    def prompts(self, image_id: str) -> ObjectPrompts | None:
        """See `PromptedSource`."""
        if image_id not in self._rows:
            return None
        plain = self._table.take(self._rows[image_id]).to_pylist()
        objects: dict[object, list[int]] = {}
        for place, row in enumerate(plain):
            # A row without an id is an object of its own.
            key = place if row.get("id") in _NONE else str(row["id"])
            objects.setdefault(key, []).append(place)
        self.tally.once(image_id).use("objects", len(objects))
        first = [plain[places[0]] for places in objects.values()]
        rows = [[self._rows[image_id][place] for place in places] for places in objects.values()]
        return ObjectPrompts.build(
            boxes_xyxy=np.array([self._box(each) for each in rows]).reshape(-1, 4),
            points_xy=[self._points(each)[0] for each in rows],
            point_labels=[self._points(each)[1] for each in rows],
            scores=[self._numbers["score"][each[0]] for each in rows],
            classes=[
                self.classes.index(str(row["class"])) if row.get("class") not in _NONE else UNLABELED for row in first
            ],
            ids=["" if row.get("id") in _NONE else str(row["id"]) for row in first],
            attributes=[_attributes(row, self._further) for row in first],
            relative=self._relative,
        )

    def _box(self, rows: Sequence[int]) -> list[float]:
        """Return the corners of an object's box: of the first of its rows that has one."""
        for names in (_CORNERS, _SIDES):
            if names[0] not in self._numbers:
                continue
            for row in rows:
                a, b, c, d = (float(self._numbers[name][row]) for name in names)
                if not np.isnan([a, b, c, d]).all():
                    return [a, b, c, d] if names is _CORNERS else [a, b, a + c, b + d]
        return [np.nan] * 4

    def _points(self, rows: Sequence[int]) -> tuple[list[list[float]], list[int]]:
        if "px" not in self._numbers:
            return [], []
        x, y, on = (self._numbers[name] for name in (*_POINT, "on"))
        given = [row for row in rows if not np.isnan(x[row])]
        return [[x[row], y[row]] for row in given], [ON if np.isnan(on[row]) else int(on[row]) for row in given]


def _read(uri: str) -> pa.Table:
    """Return the file's table.

    Raises:
        SourceError: it is neither CSV nor Parquet.
    """
    data = io.BytesIO(files.read_bytes(uri))
    try:
        if files.name(uri).lower().endswith(".parquet"):
            return pa.parquet.read_table(data)
        if files.name(uri).lower().endswith(".csv"):
            # Names of images and ids are text, even where all of them look like numbers.
            text = {name: pa.string() for name in ("image", "class", "id")}
            return pa.csv.read_csv(
                data, convert_options=pa.csv.ConvertOptions(column_types=text, strings_can_be_null=True)
            )
    except pa.ArrowException as error:
        raise SourceError(f"{uri}: cannot be read as a table ({str(error).splitlines()[0]})") from error
    raise SourceError(f"{uri}: the name of a table ends in .csv or .parquet")


def _checked(table: pa.Table, uri: str) -> list[str]:
    """Return the names of the columns with coordinates.

    Raises:
        SourceError: columns are missing, or an image has no usable name.
    """
    have = set(table.column_names)
    groups = [names for names in (_CORNERS, _SIDES, _POINT) if have & set(names)]
    problems = [] if "image" in have else [f"has no column image, only {', '.join(table.column_names)}"]
    lacking = {names: [name for name in names if name not in have] for names in groups}
    problems += [f"lacks {', '.join(miss)} beside {names[0]}" for names, miss in lacking.items() if miss]
    if not groups:
        problems.append(f"has no boxes ({', '.join(_CORNERS)} or {', '.join(_SIDES)}) and no points (px, py)")
    refuse(uri, problems)
    named = enumerate(table["image"].to_pylist(), start=1)
    refuse(uri, [f"row {row}: image {problem}" for row, name in named if (problem := name_problem(name))])
    return [name for names in groups for name in names]


def _numbers(table: pa.Table, name: str, uri: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a column as numbers, NaN where there are none."""
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    try:
        column = table[name].cast(pa.float64())
    except pa.ArrowException as error:
        raise SourceError(f"{uri}: column {name} has values that are no numbers ({error})") from error
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _attributes(row: Mapping[str, Any], names: Sequence[str]) -> str:
    found = {name: row[name] for name in names if row[name] is not None}
    return json.dumps(found, ensure_ascii=False, default=str) if found else ""
