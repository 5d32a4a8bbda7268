"""`Instances`: the masks of one image, the noun that every source, model, refiner, evaluator and endpoint speaks.

A frozen struct of arrays. Operations return new ones. Knows nothing of where masks come from or go to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from segray.masks import rle
from segray.masks.geometry import nms

UNLABELED = -1
"""Class of a mask that has none yet."""
CROWD = "gt:crowd"
"""Provenance of a region of many objects (COCO's iscrowd): what is found inside it is neither right nor wrong."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Instances:
    """N masks of one image.

    `counts` are COCO compressed run lengths of a `size_hw` mask. All arrays have N rows, in the same order.
    """

    size_hw: tuple[int, int]
    counts: npt.NDArray[np.object_]
    """(N,) bytes."""
    boxes_xyxy: npt.NDArray[np.float32]
    """(N, 4) pixels, upper left inclusive, lower right exclusive."""
    areas: npt.NDArray[np.int64]
    """(N,) pixels."""
    scores: npt.NDArray[np.float32]
    """(N,) mostly in [0, 1]; a SAM mask's is its predicted IoU; 1 for what a person drew."""
    classes: npt.NDArray[np.int32]
    """(N,) index into the class list at hand, UNLABELED (-1) where none is known."""
    stabilities: npt.NDArray[np.float32]
    """(N,) stability score in [0, 1]; NaN where not measured."""
    points_xy: npt.NDArray[np.float32]
    """(N, 2) the prompt point in pixels; NaN where none."""
    provenance: npt.NDArray[np.object_]
    """(N,) str: who made the mask, `WHO` or `WHO:WHERE`, WHO one of gt, correction, sam, teacher, zero-shot, vote."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "size_hw" and len(value) != len(self.counts):
                raise ValueError(f"{field.name} has {len(value)} rows, counts has {len(self.counts)}")

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def from_rle(
        cls,
        counts: Sequence[rle.Counts],
        size_hw: tuple[int, int],
        *,
        provenance: str | Sequence[str],
        scores: npt.ArrayLike | None = None,
        classes: npt.ArrayLike | None = None,
        stabilities: npt.ArrayLike | None = None,
        points_xy: npt.ArrayLike | None = None,
    ) -> Self:
        """Build from run lengths; boxes and areas are measured, scores default to 1 and classes to UNLABELED."""
        number = len(counts)
        column = np.empty(number, dtype=object)
        column[:] = list(counts)
        makers = np.empty(number, dtype=object)
        makers[:] = provenance if isinstance(provenance, str) else list(provenance)
        return cls(
            size_hw=(int(size_hw[0]), int(size_hw[1])),
            counts=column,
            boxes_xyxy=rle.boxes_xyxy(counts, size_hw),
            areas=rle.areas(counts, size_hw),
            scores=_column(scores, 1.0, (number,), np.float32),
            classes=_column(classes, UNLABELED, (number,), np.int32),
            stabilities=_column(stabilities, np.nan, (number,), np.float32),
            points_xy=_column(points_xy, np.nan, (number, 2), np.float32),
            provenance=makers,
        )

    @classmethod
    def from_masks(cls, masks: npt.NDArray[np.bool_], *, provenance: str, **columns: npt.ArrayLike) -> Self:
        """Build from dense masks of shape (N, H, W); `columns` as in `from_rle`."""
        return cls.from_rle(rle.encode(masks), masks.shape[1:3], provenance=provenance, **columns)

    @classmethod
    def empty(cls, size_hw: tuple[int, int]) -> Self:
        """No masks on an image of this size."""
        return cls.from_rle([], size_hw, provenance="")

    def filter(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> Self:
        """The rows that `keep` names, by truth value or by index, in that order."""
        columns = {f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name != "size_hw"}
        return replace(self, **columns)

    @classmethod
    def cat(cls, parts: Sequence["Instances"]) -> "Instances":
        """One after the other; all of one image size."""
        sizes = {part.size_hw for part in parts}
        if len(sizes) != 1:
            raise ValueError(f"instances of one image size are needed, got {sorted(sizes)}")
        columns = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(cls)
            if f.name != "size_hw"
        }
        return cls(size_hw=parts[0].size_hw, **columns)

    def nms(self, iou_threshold: float) -> Self:
        """Greedy suppression on boxes by score, class-agnostic; rows come back by falling score."""
        return self.filter(nms(self.boxes_xyxy, self.scores, iou_threshold))

    def masks(self) -> npt.NDArray[np.bool_]:
        """Dense masks (N, H, W). Keep them inside one function."""
        return rle.decode(list(self.counts), self.size_hw)


def _column(values: npt.ArrayLike | None, default: float, shape: tuple[int, ...], dtype: type[Any]) -> npt.NDArray[Any]:
    if values is None:
        return np.full(shape, default, dtype=dtype)
    return np.asarray(values, dtype=dtype).reshape(shape)
