"""SEPL's vote: a class map from image-level labels, corrected by the masks of one image (docs/methods/sepl.md#vote).

Class 0 is the background, 255 is unknown. A mask is taken for a class that covers more than half of it, or of whose
region it covers at least 85 %. What a taken mask covers gets its class; what lies in masks that are not taken becomes
background; what no mask covers stays as it was; and what is unknown stays so unless a taken mask covers it. All
comparisons are of whole numbers. Knows neither where maps nor where masks come from.
"""

import numpy as np
import numpy.typing as npt

from segray.errors import LabelError
from segray.masks.instances import Instances
from segray.masks.run_overlaps import MapRuns, MaskRuns
from segray.masks.semantic import BACKGROUND_INDEX, UNKNOWN, Map
from segray.methods.sepl.config import VoteRule


def vote(masks: Instances, classes: Map, rule: VoteRule) -> Map:
    """The class map after the vote.

    Raises:
        LabelError: the map is of another size than the masks.
    """
    if classes.shape != masks.size_hw:
        raise LabelError(
            f"a class map of size {classes.shape} for masks of an image of size {masks.size_hw}: resize the map to the"
            " image (nearest neighbour), never the masks"
        )
    return _sequential(masks, classes) if rule.compat else _by_assignment(masks, classes, rule.max_image_share)


def is_most_of_mask(overlap: npt.NDArray[np.int64], mask_area: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Rule 1: strictly more than half of the mask is of the class."""
    return 2 * overlap > mask_area


def covers_region(overlap: npt.NDArray[np.int64], region_area: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Rule 2: the mask covers 85 % of the class's region or more."""
    return (overlap > 0) & (20 * overlap >= 17 * region_area)


def _by_assignment(masks: Instances, classes: Map, max_image_share: float) -> Map:
    """Each mask stands for the class it overlaps most (the lowest of equals), so that no class comes first."""
    flat = classes.T.reshape(-1)
    regions = MapRuns.of(flat, without=(BACKGROUND_INDEX, UNKNOWN))
    segments = MaskRuns.from_counts(list(masks.counts), masks.size_hw)
    voted = np.where(segments.union() & (flat != UNKNOWN), np.uint8(BACKGROUND_INDEX), flat)
    if len(regions.values) and len(masks):
        overlaps = segments.overlaps(regions)
        best = overlaps.argmax(axis=1)
        overlap = overlaps[np.arange(len(masks)), best]
        small = masks.areas <= max_image_share * flat.size
        taken = is_most_of_mask(overlap, masks.areas) | (covers_region(overlap, regions.areas[best]) & small)
        for index, one in enumerate(regions.values):
            voted[segments.union(taken & (best == index))] = one
    return np.ascontiguousarray(voted.reshape(classes.shape[::-1]).T)


def _sequential(masks: Instances, classes: Map) -> Map:
    """Vote as the published code does: by rising class id, a mask goes to the first class that takes it.

    See docs/methods/sepl.md#published-rule.
    """
    dense = masks.to_masks()
    free = np.ones(len(masks), dtype=np.bool_)
    voted = np.where(classes == UNKNOWN, classes, np.uint8(BACKGROUND_INDEX))
    for one in np.unique(classes):
        if one in (BACKGROUND_INDEX, UNKNOWN):
            continue
        region = classes == one
        overlap = (dense & region).sum((1, 2))
        taken = free & (is_most_of_mask(overlap, masks.areas) | covers_region(overlap, region.sum()))
        alone = region & ~dense[free].any(0)
        voted[dense[taken].any(0) | alone] = one
        free &= ~taken
    return voted
