"""`ObjectPrompts`: boxes and points of the objects of one image, before the objects have masks.

Boxes and points as files have them: perhaps outside the image, upside down or of another unit. `fit` keeps what a model
can be asked, in pixels of the image, and says of every other object why it is left out. Knows no file and no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from segray.masks.instances import UNLABELED

ON, OFF, NO_POINT = 1, 0, -1
"""Labels of points: on the object, off it, and none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectPrompts:
    """N objects of one image. All arrays have N rows, in the same order."""

    boxes_xyxy: npt.NDArray[np.float64]
    """(N, 4) corners; NaN where the object has no box."""
    points_xy: npt.NDArray[np.float64]
    """(N, K, 2); NaN where there are fewer than K points."""
    point_labels: npt.NDArray[np.int64]
    """(N, K): `ON`, `OFF` or `NO_POINT`."""
    scores: npt.NDArray[np.float32]
    """(N,) how sure whoever found the object was; NaN where nobody said."""
    classes: npt.NDArray[np.int32]
    """(N,) index into the source's classes, or UNLABELED."""
    ids: tuple[str, ...]
    """Id of each object in its file; empty where it has none."""
    attributes: tuple[str, ...]
    """What else the file says of each object, a JSON object as text; empty where it says nothing."""
    relative: bool = False
    """Whether coordinates are shares of the image's width and height, as in YOLO's files, in place of pixels."""
    size_hw: tuple[int, int] | None = None
    """Size of the image as the file has it, if it says."""

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def build(
        cls,
        *,
        boxes_xyxy: npt.ArrayLike | None = None,
        points_xy: Sequence[npt.ArrayLike] | None = None,
        point_labels: Sequence[npt.ArrayLike] | None = None,
        scores: npt.ArrayLike | None = None,
        classes: npt.ArrayLike | None = None,
        ids: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        relative: bool = False,
        size_hw: tuple[int, int] | None = None,
    ) -> Self:
        """Build from boxes (N, 4), points (one (K, 2) array for each object, each with its own K), or both."""
        known = boxes_xyxy if boxes_xyxy is not None else points_xy
        number = 0 if known is None else len(np.asarray(known, dtype=object))
        points = [np.asarray(one, np.float64).reshape(-1, 2) for one in points_xy or [np.zeros((0, 2))] * number]
        given = point_labels or [np.full(len(one), ON) for one in points]
        labels = [np.asarray(one, np.int64).reshape(-1) for one in given]
        most = max(map(len, points), default=0)
        padded, kinds = np.full((number, most, 2), np.nan), np.full((number, most), NO_POINT)
        for index, (one, kind) in enumerate(zip(points, labels, strict=True)):
            padded[index, : len(one)], kinds[index, : len(one)] = one, kind
        boxes = np.full((number, 4), np.nan) if boxes_xyxy is None else np.asarray(boxes_xyxy, np.float64)
        return cls(
            boxes_xyxy=boxes.reshape(number, 4),
            points_xy=padded,
            point_labels=kinds,
            scores=np.full(number, np.nan, np.float32) if scores is None else np.asarray(scores, np.float32),
            classes=np.full(number, UNLABELED, np.int32) if classes is None else np.asarray(classes, np.int32),
            ids=("",) * number if ids is None else tuple(ids),
            attributes=("",) * number if attributes is None else tuple(attributes),
            relative=relative,
            size_hw=size_hw,
        )

    def filter(self, keep: npt.NDArray[np.bool_]) -> Self:
        """Return the objects that `keep` (N,) is true for."""
        columns: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                columns[field.name] = value[keep]
            elif field.name in ("ids", "attributes"):
                columns[field.name] = tuple(one for one, kept in zip(value, keep, strict=True) if kept)
        return replace(self, **columns)

    @property
    def has_box(self) -> npt.NDArray[np.bool_]:
        """Return which objects have a box: (N,)."""
        return np.asarray(~np.isnan(self.boxes_xyxy).all(axis=1))

    @property
    def has_points(self) -> npt.NDArray[np.bool_]:
        """Return which objects have points: (N,)."""
        return np.asarray((self.point_labels != NO_POINT).any(axis=1))


def fit(prompts: ObjectPrompts, size_hw: tuple[int, int]) -> tuple[ObjectPrompts, list[str]]:
    """Return the objects that an image of this size can show, in its pixels, and why each other one is left out.

    Boxes that reach over an edge are cut there. Reasons are ends of a sentence, as those of `segray.tally`, and stable.
    """
    if prompts.size_hw is not None and prompts.size_hw != size_hw and not prompts.relative:
        turned = prompts.size_hw == size_hw[::-1]
        reason = "are of another orientation than the image" if turned else "are made for an image of another size"
        return prompts.filter(np.zeros(len(prompts), bool)), [reason] * len(prompts)
    width, height = float(size_hw[1]), float(size_hw[0])
    boxes, points = prompts.boxes_xyxy, prompts.points_xy
    if prompts.relative:
        boxes, points = boxes * [width, height, width, height], points * [width, height]
    reasons = [_problem(*one, (width, height)) for one in zip(boxes, points, prompts.point_labels, strict=True)]
    fitted = replace(
        prompts,
        boxes_xyxy=np.clip(boxes, 0, [width, height, width, height]),
        points_xy=points,
        relative=False,
        size_hw=size_hw,
    )
    return fitted.filter(np.array([one is None for one in reasons], bool)), [one for one in reasons if one is not None]


def _problem(
    box: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    size_wh: tuple[float, float],
) -> str | None:
    """Say why a model cannot be asked for an object; None where it can."""
    given = points[labels != NO_POINT]
    if np.isnan(box).all() and not (labels == ON).any():
        return "have no box, and no point on the object"
    if len(given) and not np.isfinite(given).all():
        return "have points that are no numbers"
    if len(given) and ((given < 0) | (given >= size_wh)).any():
        return "have points outside the image"
    return None if np.isnan(box).all() else _box_problem(box, size_wh)


def _box_problem(box: npt.NDArray[np.float64], size_wh: tuple[float, float]) -> str | None:
    """Return the first reason that applies."""
    x0, y0, x1, y1 = box
    width, height = size_wh
    outside = x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height
    tests = {
        "have boxes that are no numbers": not np.isfinite(box).all(),
        "have inverted boxes": x1 < x0 or y1 < y0,
        "have empty boxes": x1 == x0 or y1 == y0,
        "have boxes in relative units": min(x0, y0) >= 0 and max(x1, y1) <= 1 < min(width, height) / 2,
        "are of another orientation than the image": outside and min(x0, y0) >= 0 and x1 <= height and y1 <= width,
        "have boxes outside the image": outside,
    }
    return next((reason for reason, applies in tests.items() if applies), None)
