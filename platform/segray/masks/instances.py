"""`Instances`: the masks of one image, the noun that every source, model, refiner, evaluator and endpoint speaks.

A frozen struct of arrays. Operations return new ones. Knows nothing of where masks come from or go to.
`plot` finds the drawing code by its name when it is called, because masks import nothing from the rooms above them.
"""

import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

import numpy as np
import numpy.typing as npt

from segray.masks import rle
from segray.masks.geometry import nms

if TYPE_CHECKING:
    import supervision
    from PIL.Image import Image

REVIEW = "review"
"""Attribute of a mask that a person should look at; its value is the reason."""
UNLABELED = -1
"""Class of a mask that has none yet."""
CROWD = "gt:crowd"
"""Provenance of a region of many objects (COCO's iscrowd): what is found inside it is neither right nor wrong."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Instances:
    """N masks of one image.

    `counts` are COCO compressed run lengths of a `size_hw` mask. All arrays have N rows, in the same order.

    Example:
        >>> large = instances[instances.areas > 1000]
        >>> for one in large:
        ...     print(one.boxes_xyxy[0], one.scores[0])
        >>> large.plot("a.jpg").save("a-masks.png")
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
    """(N,) str: who made the mask, a word of `Provenance` or `WORD:WHICH`; `CROWD` for regions of many objects."""
    ids: npt.NDArray[np.object_]
    """(N,) str: the object's id in the file that it comes from, as COCO's annotation ids; empty where it has none."""
    attributes: npt.NDArray[np.object_]
    """(N,) str: what else is known of the object, a JSON object as text; empty where nothing is. `REVIEW` is one."""
    file_areas: npt.NDArray[np.float64]
    """(N,) the area that the object's annotation file gives, in pixels; NaN where it gives none. See `coco_areas`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "size_hw" and len(value) != len(self.counts):
                raise ValueError(f"{field.name} has {len(value)} rows, counts has {len(self.counts)}")

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, which: SupportsIndex | slice | npt.ArrayLike) -> Self:
        """Return the masks that `which` names, as `Instances`.

        Args:
            which: a position (gives one mask), a slice, or an array: booleans (N,) to keep, or positions in the order
                wanted.

        Raises:
            IndexError: a position outside the masks, or booleans of another number.
        """
        if isinstance(which, slice):
            return self._rows(which)
        if isinstance(which, int | np.integer) and not isinstance(which, bool):
            position = operator.index(which)
            if not -len(self) <= position < len(self):
                raise IndexError(f"mask {position} is asked for, there are {len(self)}")
            return self.filter(np.array([position]))
        keep = np.asarray(which)
        return self.filter(keep if keep.size else keep.astype(np.int64))

    def __iter__(self) -> Iterator[Self]:
        """Yield each mask as `Instances` of length 1."""
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        height, width = self.size_hw
        parts = [f"{len(self)} mask{'s' * (len(self) != 1)}", f"image {height} x {width}"]
        if len(self):
            low, high = self.scores.min(), self.scores.max()
            parts.append(f"scores {low:.2f}" + (f" to {high:.2f}" if high > low else ""))
            parts.append(f"{len(np.unique(self.classes[self.classes != UNLABELED]))} classes")
            parts.append(f"from {', '.join(sorted(set(map(str, self.provenance))))}")
        return f"Instances({', '.join(parts)})"

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
        ids: Sequence[str] | None = None,
        attributes: Sequence[str] | None = None,
        file_areas: npt.ArrayLike | None = None,
    ) -> Self:
        """Build from run lengths; scores default to 1 and classes to UNLABELED, boxes and areas are measured."""
        number = len(counts)
        return cls(
            size_hw=(int(size_hw[0]), int(size_hw[1])),
            counts=_objects(list(counts), number),
            boxes_xyxy=rle.boxes_xyxy(counts, size_hw),
            areas=rle.areas(counts, size_hw),
            scores=_column(scores, 1.0, (number,), np.float32),
            classes=_column(classes, UNLABELED, (number,), np.int32),
            stabilities=_column(stabilities, np.nan, (number,), np.float32),
            points_xy=_column(points_xy, np.nan, (number, 2), np.float32),
            provenance=_objects(provenance if isinstance(provenance, str) else list(provenance), number),
            ids=_objects("" if ids is None else list(ids), number),
            attributes=_objects("" if attributes is None else list(attributes), number),
            file_areas=_column(file_areas, np.nan, (number,), np.float64),
        )

    @classmethod
    def from_masks(cls, masks: npt.NDArray[np.bool_], *, provenance: str, **columns: Any) -> Self:
        """Build from dense masks of shape (N, H, W); `columns` as in `from_rle`."""
        return cls.from_rle(rle.encode(masks), masks.shape[1:3], provenance=provenance, **columns)

    @classmethod
    def empty(cls, size_hw: tuple[int, int]) -> Self:
        """No masks on an image of this size."""
        return cls.from_rle([], size_hw, provenance="")

    def filter(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> Self:
        """Return the rows that `keep` names, by truth value or by index, in that order."""
        return self._rows(keep)

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

    def coco_areas(self) -> npt.NDArray[np.float64]:
        """Return the areas (N,) by which COCO tells small objects from large ones: the file's, else the measured."""
        return np.where(np.isnan(self.file_areas), self.areas, self.file_areas)

    def review_reasons(self) -> list[str]:
        """Return of each mask why a person should look at it; empty where nothing speaks for that."""
        return [str(json.loads(text).get(REVIEW, "")) if REVIEW in text else "" for text in self.attributes]

    def to_masks(self) -> npt.NDArray[np.bool_]:
        """Return dense masks (N, H, W). They are large: keep them inside one function."""
        return rle.decode(list(self.counts), self.size_hw)

    def to_coco(self, image_id: int | str = 0, *, first_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO annotations, with masks as compressed run lengths.

        Args:
            image_id: what COCO's `image_id` says.
            first_id: the first annotation's `id`; the others count on from it.

        Returns:
            One dict per mask, ready for JSON. `bbox` is x, y, width, height in pixels; `category_id` is the class + 1,
            so 0 where there is none; `iscrowd` is 1 for crowds.

        Example:
            >>> json.dumps(instances.to_coco(image_id=7))
        """
        boxes = np.concatenate([self.boxes_xyxy[:, :2], self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]], axis=1)
        return [
            {
                "id": first_id + index,
                "image_id": image_id,
                "category_id": int(self.classes[index]) + 1,
                "segmentation": {"size": list(self.size_hw), "counts": self.counts[index].decode("ascii")},
                "area": int(self.areas[index]),
                "bbox": boxes[index].tolist(),
                "iscrowd": int(self.provenance[index] == CROWD),
                "score": float(self.scores[index]),
            }
            for index in range(len(self))
        ]

    def to_supervision(self) -> "supervision.Detections":
        """Return `supervision.Detections`: boxes, dense masks, scores as `confidence`, classes (-1: none).

        `data` holds `provenance` and `stability`.

        Raises:
            ImportError: the package supervision is not installed.
        """
        try:
            import supervision  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise ImportError("to_supervision needs the package supervision: pip install supervision") from error
        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            mask=self.to_masks(),
            confidence=self.scores,
            class_id=self.classes,
            data={"provenance": self.provenance.astype(str), "stability": self.stabilities},
        )

    def plot(self, image: Any, *, max_side: int | None = None) -> "Image":
        """Return the image with the masks drawn over it, as a PIL image.

        Args:
            image: the image that the masks are of: a path or URI, a PIL image, or an array (H, W, 3) uint8 RGB.
            max_side: shrink the picture to this many pixels along its longer side; None keeps its size.

        Raises:
            ImageError: the file cannot be read as an image.
            ValueError: the image has another size than the masks.
        """
        picture: Image = resolve_name("segray.pages.overlay:plot")(image, self, max_side=max_side)
        return picture

    def _rows(self, which: slice | npt.NDArray[Any]) -> Self:
        columns = {f.name: getattr(self, f.name)[which] for f in fields(self) if f.name != "size_hw"}
        return replace(self, **columns)


def _objects(values: Any, number: int) -> npt.NDArray[np.object_]:
    """Return an array of Python objects: the values, or one value for all."""
    column = np.empty(number, dtype=object)
    column[:] = values
    return column


def _column(values: npt.ArrayLike | None, default: float, shape: tuple[int, ...], dtype: type[Any]) -> npt.NDArray[Any]:
    if values is None:
        return np.full(shape, default, dtype=dtype)
    return np.asarray(values, dtype=dtype).reshape(shape)
