"""Crops of an image and grids of prompt points in them, the same as segment-anything's."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from segray.config.sam import MaskGeneration
from segray.masks.tiles import Tile

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Crop(Tile):
    """A part of an image that is segmented on its own. Layer 0 is the whole image."""

    layer: int

    @property
    def area(self) -> int:
        """Return the number of pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def crops_of(size_hw: tuple[int, int], settings: MaskGeneration) -> list[Crop]:
    """Return the whole image, then layer by layer 2**layer by 2**layer overlapping crops, column by column."""
    height, width = size_hw
    found = [Crop(0, 0, width, height, 0)]
    for layer in range(1, settings.crop_n_layers + 1):
        per_side = 2**layer
        overlap = int(settings.crop_overlap_ratio * min(size_hw) * (2 / per_side))
        crop_height, crop_width = (math.ceil((overlap * (per_side - 1) + side) / per_side) for side in size_hw)
        for column, row in product(range(per_side), repeat=2):
            x0, y0 = (crop_width - overlap) * column, (crop_height - overlap) * row
            found.append(Crop(x0, y0, min(x0 + crop_width, width), min(y0 + crop_height, height), layer))
    # An image of a few pixels has less to cut than layers ask for.
    return [crop for crop in found if crop.area > 0]


def layer_points(settings: MaskGeneration, crop: Crop) -> Points:
    """Return the prompt points of a crop, in its pixels: (P, 2) as x, y."""
    per_side = int(settings.points_per_side / settings.crop_n_points_downscale_factor**crop.layer)
    return grid_points(per_side, crop.size_hw)


def grid_points(per_side: int, size_hw: tuple[int, int]) -> Points:
    """Return the centres of per_side by per_side cells, row by row, as x, y in pixels: (per_side**2, 2)."""
    half = 1 / (2 * per_side)
    centres = np.linspace(half, 1 - half, per_side)
    x, y = np.meshgrid(centres, centres)
    points: Points = np.stack([x, y], axis=-1).reshape(-1, 2) * np.array(size_hw)[None, ::-1]
    return points
