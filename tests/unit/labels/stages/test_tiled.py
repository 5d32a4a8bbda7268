import numpy as np

from segray.config.sam import Tiles
from segray.labels.stages.tiled import TiledGenerator
from segray.masks.instances import Instances


class Components:
    """A generator that finds each grey value of an image as one mask, and remembers the sizes it saw."""

    def __init__(self):
        self.sizes = []

    def generate(self, images):
        found = []
        for image in images:
            self.sizes.append(image.shape[:2])
            values = np.setdiff1d(image[..., 0], [0])
            masks = image[..., 0] == values[:, None, None]
            scores = [masks[i].mean() for i in range(len(masks))]
            points = [np.argwhere(mask)[0][::-1] for mask in masks]
            found.append(Instances.from_masks(masks, provenance="sam:fake", scores=scores, points_xy=points))
        return found


def scene(size_hw, *boxes):
    image = np.zeros((*size_hw, 3), np.uint8)
    for value, (x0, y0, x1, y1) in enumerate(boxes, 1):
        image[y0:y1, x0:x1] = value
    return image


def boxes_of(found):
    return sorted(map(tuple, found.boxes_xyxy.astype(int).tolist()))


def test_small_images_go_through_whole_and_order_is_kept():
    inner = Components()
    small, large = scene((80, 100), (0, 0, 9, 9)), scene((80, 160), (100, 0, 120, 9))
    found = TiledGenerator(inner, Tiles(size=100, overlap=20), 0.7).generate([large, small])
    assert inner.sizes[0] == (80, 100)
    assert [boxes_of(one) for one in found] == [[(100, 0, 120, 9)], [(0, 0, 9, 9)]]


def test_what_tiles_share_is_found_once():
    large = scene((80, 160), (70, 10, 90, 30))
    found = TiledGenerator(Components(), Tiles(size=100, overlap=20), 0.7).generate([large])[0]
    assert boxes_of(found) == [(70, 10, 90, 30)]
