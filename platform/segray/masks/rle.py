"""Run-length encoded masks: COCO's compressed counts as bytes, the resting form of every mask.

Knows how to encode, decode, measure, compare and place them. Knows nothing of images, scores or classes.
Masks are column-major as COCO has them; `size_hw` is always (height, width) in pixels.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Counts = bytes
"""One mask as COCO compressed counts. Its size travels beside it."""

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
MOST_SIDE = 1_000_000
"""Largest side of an image with masks, in pixels."""
MOST_PIXELS = 1 << 32
"""What COCO's run lengths can count."""
MOST_OUTLINE = 10_000_000
"""Longest outline of a mask, in pixels."""


def encode(masks: Bools) -> list[Counts]:
    """Encode dense masks of shape (N, H, W)."""
    if masks.ndim != 3:
        raise ValueError(f"masks must have shape (N, H, W), got {masks.shape}")
    if masks.shape[0] == 0:
        return []
    column_major = np.ascontiguousarray(masks.transpose(0, 2, 1)).view(np.uint8)
    return [rle["counts"] for rle in coco.encode(column_major.transpose(2, 1, 0))]


def decode(counts: Sequence[Counts], size_hw: tuple[int, int]) -> Bools:
    """Decode to dense masks of shape (N, H, W)."""
    if len(counts) == 0:
        return np.zeros((0, *size_hw), dtype=np.bool_)
    dense = coco.decode(_objects(counts, size_hw))
    return np.ascontiguousarray(dense.transpose(2, 0, 1)).astype(np.bool_, copy=False)


def decode_columns(counts: Counts, size_hw: tuple[int, int], start: int, stop: int) -> Bools:
    """Columns `start` to `stop` of one mask, dense (H, stop - start); the other columns cost nothing but their runs."""
    height = size_hw[0]
    runs = to_runs(counts)
    edges = np.clip(np.concatenate([[0], np.cumsum(runs)]), start * height, stop * height)
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, np.diff(edges)).reshape(stop - start, height).T


def areas(counts: Sequence[Counts], size_hw: tuple[int, int]) -> Ints:
    """Pixels inside each mask, shape (N,)."""
    if len(counts) == 0:
        return np.zeros(0, dtype=np.int64)
    # pycocotools 2.0.11 under NumPy 2 raises OverflowError for more than 255 masks in one call.
    objects = _objects(counts, size_hw)
    parts = [coco.area(objects[start : start + 255]) for start in range(0, len(objects), 255)]
    return np.concatenate(parts).astype(np.int64)


def boxes_xyxy(counts: Sequence[Counts], size_hw: tuple[int, int]) -> Floats:
    """Tight boxes, shape (N, 4): x0, y0 inclusive, x1, y1 exclusive, in pixels; zeros for an empty mask."""
    if len(counts) == 0:
        return np.zeros((0, 4), dtype=np.float32)
    xywh = np.asarray(coco.toBbox(_objects(counts, size_hw)), dtype=np.float32).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def iou(
    first: Sequence[Counts],
    second: Sequence[Counts],
    size_hw: tuple[int, int],
    crowd: Sequence[bool] | None = None,
) -> npt.NDArray[np.float64]:
    """Pairwise intersection over union, shape (N, M); over the first one's area where the second is a crowd."""
    if len(first) == 0 or len(second) == 0:
        return np.zeros((len(first), len(second)))
    flags = [int(flag) for flag in crowd] if crowd is not None else [0] * len(second)
    return np.asarray(coco.iou(_objects(first, size_hw), _objects(second, size_hw), flags))


def union(counts: Sequence[Counts], size_hw: tuple[int, int]) -> Counts:
    """The union of masks of one size, as one mask."""
    if len(counts) == 0:
        return from_runs(np.array([size_hw[0] * size_hw[1]]), size_hw)
    return bytes(coco.merge(_objects(counts, size_hw))["counts"])


def to_runs(counts: Counts) -> Ints:
    """Run lengths, alternating outside and inside, starting outside (so the first may be 0).

    COCO's text holds five bits a character, least first, with a bit for "more follows" and a sign in the last; from the
    fourth on, each value is the difference to the one two before.
    """
    characters = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(characters & 0x20 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    shifts = 5 * (np.arange(len(characters)) - np.repeat(first, last - first + 1))
    values = np.add.reduceat((characters & 0x1F) << shifts, first)
    values -= (characters[last] & 0x10 != 0).astype(np.int64) << (5 * (last - first + 1))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def from_runs(runs: npt.NDArray[np.integer], size_hw: tuple[int, int]) -> Counts:
    """Compressed counts from run lengths (see `to_runs`), whose sum must be H x W."""
    total = size_hw[0] * size_hw[1]
    if int(runs.sum()) != total:
        raise ValueError(f"runs add up to {int(runs.sum())}, a mask of size {size_hw} has {total} pixels")
    return bytes(coco.frPyObjects({"size": list(size_hw), "counts": runs.tolist()}, *size_hw)["counts"])


def from_polygons(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> Counts:
    """Return one mask from its polygons, each [x0, y0, x1, y1, ...] in pixels; parts are united.

    Raises:
        ValueError: an image or an outline larger than pycocotools can draw, which would end the process.
    """
    usable = [list(polygon) for polygon in polygons if len(polygon) >= 6]
    _refuse_huge(usable, size_hw)
    if not usable:
        return union([], size_hw)
    return bytes(coco.merge(coco.frPyObjects(usable, *size_hw))["counts"])


def _refuse_huge(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> None:
    """Raise where pycocotools would overflow its 32-bit coordinates, or its memory: five points for each pixel."""
    if max(size_hw) > MOST_SIDE or size_hw[0] * size_hw[1] >= MOST_PIXELS:
        raise ValueError(f"an image of size {size_hw} is larger than masks can be")
    length = 0.0
    for polygon in polygons:
        corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
        length += float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())
        if np.abs(corners).max() > 5 * MOST_SIDE or not length < MOST_OUTLINE:
            raise ValueError(f"an outline of {length:.3g} pixels in an image of size {size_hw} is no mask's")


def from_coco(segmentation: object, size_hw: tuple[int, int]) -> Counts:
    """One mask from a COCO `segmentation`: polygons, uncompressed or compressed run lengths."""
    if isinstance(segmentation, list):
        return from_polygons(segmentation, size_hw)
    if not isinstance(segmentation, dict) or "counts" not in segmentation:
        raise ValueError(f"not a COCO segmentation: {type(segmentation).__name__}")
    size = tuple(segmentation.get("size", size_hw))
    if size != tuple(size_hw):
        raise ValueError(f"segmentation of size {size} in an image of size {tuple(size_hw)}")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return from_runs(np.asarray(counts, dtype=np.int64), size_hw)
    if not isinstance(counts, str | bytes):
        raise TypeError(f"run lengths are a list of numbers or a text, got {type(counts).__name__}")
    return counts.encode("ascii") if isinstance(counts, str) else counts


def place(counts: Counts, size_hw: tuple[int, int], offset_xy: tuple[int, int], canvas_hw: tuple[int, int]) -> Counts:
    """Move a mask of a crop into its larger canvas, in run lengths only: no dense canvas is made.

    `offset_xy` is the crop's upper left corner. The crop must lie inside the canvas.
    """
    (height, width), (x0, y0), (canvas_height, canvas_width) = size_hw, offset_xy, canvas_hw
    if x0 < 0 or y0 < 0 or x0 + width > canvas_width or y0 + height > canvas_height:
        raise ValueError(f"a crop of size {size_hw} at {offset_xy} leaves the canvas of size {canvas_hw}")
    starts, ends = column_segments(to_runs(counts), height)
    shift = (x0 + starts // height) * canvas_height + y0
    placed = np.stack([shift + starts % height, shift + (ends - 1) % height + 1], axis=1)
    return from_segments(placed, canvas_hw)


def from_segments(segments: Ints, size_hw: tuple[int, int]) -> Counts:
    """Compressed counts from sorted, disjoint [start, end) positions (S, 2), column-major; touching ones fuse."""
    flat = segments.reshape(-1)
    edges = np.concatenate([[0], flat, [size_hw[0] * size_hw[1]]])
    runs = np.diff(edges)
    inner = np.flatnonzero(runs[1:-1] == 0) + 1
    inner = inner[inner % 2 == 0]
    if len(inner):
        edges = np.delete(edges, np.concatenate([inner, inner + 1]))
        runs = np.diff(edges)
    return from_runs(runs[:-1] if runs[-1] == 0 and len(runs) > 1 else runs, size_hw)


def column_segments(runs: Ints, height: int) -> tuple[Ints, Ints]:
    """The inside runs as [start, end) positions, cut where a run crosses into the next column."""
    edges = np.concatenate([[0], np.cumsum(runs)])
    starts, ends = edges[1:-1:2], edges[2::2]
    keep = ends > starts
    starts, ends = starts[keep], ends[keep]
    columns = (ends - 1) // height - starts // height + 1
    index = np.repeat(np.arange(len(starts)), columns)
    step = np.arange(len(index)) - np.repeat(np.cumsum(columns) - columns, columns)
    column_start = (starts[index] // height + step) * height
    return np.maximum(starts[index], column_start), np.minimum(ends[index], column_start + height)


def _objects(counts: Sequence[Counts], size_hw: tuple[int, int]) -> list[dict[str, object]]:
    size = [int(size_hw[0]), int(size_hw[1])]
    return [{"size": size, "counts": one} for one in counts]
