import numpy as np
import pytest
from segment_anything.utils import amg

from segray.config.sam import MaskGeneration
from segray.sam.mask_generation.grids import crops_of, layer_points


@pytest.mark.parametrize("size_hw", [(480, 640), (333, 101), (7, 5)])
@pytest.mark.parametrize(("layers", "factor"), [(0, 1), (1, 1), (2, 2)])
def test_crops_and_points_are_the_reference_s(size_hw: tuple[int, int], layers: int, factor: int) -> None:
    chosen = MaskGeneration(points_per_side=12, crop_n_layers=layers, crop_n_points_downscale_factor=factor)
    boxes, of_layer = amg.generate_crop_boxes(size_hw, layers, chosen.crop_overlap_ratio)
    grids = amg.build_all_layer_point_grids(12, layers, factor)
    wanted = [(*box, layer) for box, layer in zip(boxes, of_layer, strict=True) if box[2] > box[0] and box[3] > box[1]]
    found = crops_of(size_hw, chosen)
    assert [(crop.x0, crop.y0, crop.x1, crop.y1, crop.layer) for crop in found] == wanted
    for crop in found:
        scale = np.array(crop.size_hw)[None, ::-1]
        np.testing.assert_array_equal(layer_points(chosen, crop), grids[crop.layer] * scale)
