"""From prompt points to masks at rest, through the filters of segment-anything's automatic mask generation.

In the order in which they are applied: predicted IoU (before a mask is made), stability, the crop's edge, duplicates,
small regions. Knows a `Sam` and one batch of points or one crop. Does not know which points are worth a prompt.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from segray.config.sam import MaskGeneration
from segray.masks import rle
from segray.masks.geometry import Boxes
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.sam.mask_generation.grids import Crop, Points
from segray.sam.protocol import POSITIVE, Embedding, Prompts, Sam

EDGE_TOLERANCE: Final = 20.0
"""Distance in pixels up to which a box touches an edge."""
_PIXELS_AT_ONCE_CPU: Final = 2**19
"""Full-size mask pixels processed at once; at a few bytes each they stay in the cache of one core."""
_PIXELS_AT_ONCE_CUDA: Final = 2**28


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """N low-resolution masks decoded from a batch of points."""

    logits: Tensor
    """(N, h, w) low resolution."""
    scores: npt.NDArray[np.float32]
    """(N,) predicted IoU."""
    points: npt.NDArray[np.int64]
    """(N,) index of the prompt point in its batch."""

    def __len__(self) -> int:
        return len(self.scores)

    def filter(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Candidates":
        """Return the candidates that `keep` selects, a boolean mask or indices."""
        logits = self.logits[torch.from_numpy(keep).to(self.logits.device)]
        return Candidates(logits=logits, scores=self.scores[keep], points=self.points[keep])


def decode_confident_masks(
    sam: Sam, embedding: Embedding, image_index: npt.NDArray[np.int64], points_xy: Points, pred_iou_thresh: float
) -> Candidates:
    """Decode point prompts: up to three masks per point, filtered by predicted IoU before any mask is upsampled.

    Args:
        sam: the model.
        embedding: of the images that the points lie in.
        image_index: (P,) image of each point, an index into the embedding.
        points_xy: (P, 2) in pixels of that image.
        pred_iou_thresh: masks with a predicted IoU above are kept; 0 keeps all.
    """
    prompts = Prompts(
        image_index=torch.from_numpy(image_index),
        points_xy=torch.from_numpy(points_xy)[:, None],
        labels=torch.full((len(points_xy), 1), POSITIVE),
    )
    decoded = sam.decode(embedding, prompts)
    scores = decoded.scores.flatten()
    keep = torch.nonzero(scores > pred_iou_thresh)[:, 0] if pred_iou_thresh > 0 else torch.arange(len(scores))
    logits = sam.logits(decoded, keep) if len(keep) else scores.new_empty(0, 1, 1)
    points = keep.cpu().numpy() // decoded.scores.shape[1]
    return Candidates(logits=logits, scores=scores.cpu().numpy()[keep.cpu().numpy()], points=points)


def encode_stable_masks(
    sam: Sam, candidates: Candidates, points_xy: Points, size_hw: tuple[int, int], settings: MaskGeneration
) -> tuple[npt.NDArray[np.int64], Instances]:
    """Upsample the candidates of one image or crop, a few at a time, and keep the stable ones as run lengths.

    Returns the rows of the candidates that are stable, and their masks at `size_hw`; `points_xy` (P, 2) is the batch
    that the candidates' `points` index.
    """
    counts: list[rle.Counts] = []
    rows = [np.zeros(0, dtype=np.int64)]
    stabilities = [np.zeros(0, dtype=np.float32)]
    for start, columns in full_size(sam, candidates.logits, size_hw):
        stability = stability_scores(columns, sam.mask_threshold, settings.stability_score_offset)
        stable = is_stable(stability, settings.stability_score_thresh)
        inside = columns > sam.mask_threshold
        counts += rle.encode(inside[stable.to(columns.device)].mT.cpu().numpy())
        rows.append(np.flatnonzero(stable.numpy()) + start)
        stabilities.append(stability[stable].numpy())
    kept = np.concatenate(rows)
    return kept, Instances.from_rle(
        counts,
        size_hw,
        provenance=f"{Provenance.SAM}:{sam.name}",
        scores=candidates.scores[kept],
        stabilities=np.concatenate(stabilities),
        points_xy=points_xy[candidates.points[kept]],
    )


def stability_scores(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """Return each mask's (N, a, b) IoU at a higher and a lower threshold: (N,) on the CPU, NaN where both are empty."""
    return _count_above(logits, threshold + offset) / _count_above(logits, threshold - offset)


def is_stable(stability: Tensor, threshold: float) -> Tensor:
    """Return which masks pass; 0 switches the filter off, and only then masks with a stability of NaN pass."""
    return stability >= threshold if threshold > 0 else torch.ones_like(stability, dtype=torch.bool)


def near_crop_edge(boxes_xyxy: Boxes, crop: Crop, image_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return which boxes, in pixels of a crop, touch an edge of the crop that is not an edge of the image: (N,)."""
    placed = _inclusive(boxes_xyxy) + np.array([crop.x0, crop.y0, crop.x0, crop.y0], dtype=np.float32)
    near_crop = np.abs(placed - np.array([crop.x0, crop.y0, crop.x1, crop.y1], dtype=np.float32)) <= EDGE_TOLERANCE
    near_image = np.abs(placed - np.array([0, 0, image_hw[1], image_hw[0]], dtype=np.float32)) <= EDGE_TOLERANCE
    return np.asarray(np.any(near_crop & ~near_image, axis=1))


def suppress_duplicates(
    boxes_xyxy: Boxes, scores: npt.NDArray[np.floating], iou_threshold: float
) -> npt.NDArray[np.int64]:
    """Return the indices of the boxes that no better one overlaps by more than the threshold, best first.

    Not `masks.geometry.nms`: segment-anything counts a box's last row and column as inside, and the order of equal
    scores is torchvision's.
    """
    if len(boxes_xyxy) == 0:
        return np.zeros(0, dtype=np.int64)
    boxes = torch.from_numpy(_inclusive(boxes_xyxy))
    kept: npt.NDArray[np.int64] = batched_nms(
        boxes, torch.from_numpy(scores), torch.zeros(len(boxes)), iou_threshold
    ).numpy()
    return kept


def postprocess_small_regions(instances: Instances, min_area: int, iou_threshold: float) -> Instances:
    """Fill holes and remove islands under `min_area` pixels, then drop the duplicates that this makes.

    Scores and stabilities stay those of the masks before. Unchanged masks come first and win over changed ones with
    overlapping boxes.
    """
    if len(instances) == 0:
        return instances
    counts = instances.counts.copy()
    unchanged = np.ones(len(counts), dtype=np.float32)
    for index, before in enumerate(instances.counts):
        mask, changed = remove_small_regions(rle.decode([before], instances.size_hw)[0], min_area)
        if changed:
            counts[index], unchanged[index] = rle.encode(mask[None])[0], 0.0
    boxes = rle.boxes_xyxy(list(counts), instances.size_hw)
    areas = rle.areas(list(counts), instances.size_hw)
    after = replace(instances, counts=counts, boxes_xyxy=boxes, areas=areas)
    return after.filter(suppress_duplicates(boxes, unchanged, iou_threshold))


def remove_small_regions(mask: npt.NDArray[np.bool_], min_area: int) -> tuple[npt.NDArray[np.bool_], bool]:
    """Return a mask (H, W) without small holes, then without small islands, and whether that changed it.

    Where all islands are small, the largest stays.
    """
    # Holes
    regions, areas = _regions(~mask)
    holes = np.flatnonzero(areas < min_area) + 1
    filled = mask | np.isin(regions, holes) if len(holes) else mask
    # Islands
    regions, areas = _regions(filled)
    islands = np.flatnonzero(areas < min_area) + 1
    if len(islands) == 0:
        return filled, len(holes) > 0
    if len(islands) == len(areas):
        islands = np.delete(islands, np.argmax(areas))
    return filled & ~np.isin(regions, islands), True


def full_size(sam: Sam, logits: Tensor, size_hw: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
    """Yield chunks of masks at full size as (first row, logits (n, W, H)), column by column as run lengths are."""
    pixels = _PIXELS_AT_ONCE_CPU if logits.device.type == "cpu" else _PIXELS_AT_ONCE_CUDA
    step = max(1, pixels // (size_hw[0] * size_hw[1]))
    for start in range(0, len(logits), step):
        yield start, sam.upscale(logits[start : start + step], size_hw).mT.contiguous()


def _count_above(logits: Tensor, threshold: float) -> Tensor:
    """Return the number of pixels above the threshold in each mask (N, a, b): (N,) int64 on the CPU."""
    if logits.device.type == "cpu":
        # numpy counts a boolean array several times faster than torch.
        return torch.tensor([np.count_nonzero(one > threshold) for one in logits.numpy()], dtype=torch.int64)
    return torch.count_nonzero(logits > threshold, dim=(1, 2)).cpu()


def _inclusive(boxes_xyxy: Boxes) -> Boxes:
    """Return boxes whose lower right corner is their last pixel; an empty mask's box stays at zero."""
    boxes = boxes_xyxy.copy()
    boxes[:, 2:] = np.maximum(boxes[:, 2:] - 1, boxes[:, :2])
    return boxes


def _regions(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return each pixel's connected region (neighbours by side or corner), counted from 1, and the regions' areas."""
    _, regions, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(regions, np.int32), np.asarray(statistics[1:, cv2.CC_STAT_AREA], np.int32)
