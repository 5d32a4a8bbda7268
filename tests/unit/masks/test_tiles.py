import tracemalloc

import numpy as np
import pytest

from segray.config.sam import Tiles
from segray.masks.instances import Instances
from segray.masks.tiles import Tile, cut, join


def components(image):
    """Each grey value of an image as one mask."""
    values = np.setdiff1d(image[..., 0], [0])
    masks = image[..., 0] == values[:, None, None]
    scores = [masks[i].mean() for i in range(len(masks))]
    points = [np.argwhere(mask)[0][::-1] for mask in masks]
    return Instances.from_masks(masks, provenance="sam:fake", scores=scores, points_xy=points)


def find(image, settings):
    tiles = cut(image.shape[:2], settings)
    parts = [components(image[t.y0 : t.y1, t.x0 : t.x1]) for t in tiles]
    return join(parts, tiles, image.shape[:2], settings).nms(0.7)


def scene(size_hw, *boxes):
    image = np.zeros((*size_hw, 3), np.uint8)
    for value, (x0, y0, x1, y1) in enumerate(boxes, 1):
        image[y0:y1, x0:x1] = value
    return image


def boxes_of(found):
    return sorted(map(tuple, found.boxes_xyxy.astype(int).tolist()))


@pytest.mark.parametrize(
    ("size_hw", "number"),
    [((100, 100), 1), ((100, 101), 2), ((190, 100), 2), ((191, 100), 3), ((300, 300), 16), ((1, 1000), 11)],
)
def test_tiles_cover_the_image_and_overlap(size_hw, number):
    tiles = cut(size_hw, Tiles(size=100, overlap=10))
    assert len(tiles) == number
    covered = np.zeros(size_hw, int)
    for tile in tiles:
        assert max(tile.size_hw) <= 100
        covered[tile.y0 : tile.y1, tile.x0 : tile.x1] += 1
    assert covered.min() == 1


IMAGE = (250, 330)
CASES = [
    pytest.param((5, 5, 20, 20), id="inside one tile"),
    pytest.param((60, 60, 120, 120), id="over a corner of four"),
    pytest.param((0, 100, 330, 130), id="across the whole image"),
    pytest.param((82, 20, 98, 40), id="whole in the overlap of two"),
    pytest.param((20, 0, 40, 250), id="down the whole image"),
]


@pytest.mark.parametrize("box", CASES)
def test_union_joins_what_tiles_cut(box):
    found = find(scene(IMAGE, box), Tiles(size=100, overlap=20))
    assert boxes_of(found) == [box]
    assert found.to_masks().sum() == (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize(
    ("box", "kept"), [((5, 5, 20, 20), True), ((82, 20, 98, 40), True), ((60, 60, 120, 120), False)]
)
def test_nms_keeps_only_what_a_tile_saw_whole(box, kept):
    tiles = Tiles(size=100, overlap=20, merge="nms")
    found = find(scene(IMAGE, box), tiles)
    assert boxes_of(found) == ([box] if kept else [])


def test_neighbours_that_do_not_agree_stay_two():
    boxes = (60, 10, 95, 40), (95, 10, 130, 40)
    found = find(scene(IMAGE, *boxes), Tiles(size=100, overlap=20))
    assert boxes_of(found) == sorted(boxes)


def test_points_and_boxes_are_in_the_frame_of_the_image():
    image = scene(IMAGE, (200, 190, 215, 200))
    found = find(image, Tiles(size=100, overlap=20))
    assert found.points_xy.tolist() == [[200, 190]]


def test_an_image_with_nothing_in_it():
    found = find(scene((150, 150)), Tiles(size=100, overlap=20))
    assert len(found) == 0
    assert found.size_hw == (150, 150)


def test_overlap_of_tiles():
    assert Tile(0, 0, 10, 10).overlap(Tile(8, 5, 18, 15)) == Tile(8, 5, 10, 10)
    assert Tile(0, 0, 10, 10).overlap(Tile(10, 0, 20, 10)) is None


def test_an_8000_px_image_is_labeled_in_bounded_memory():
    side = 8000
    boxes = [(x, y, x + 700, y + 700) for x in range(100, 7200, 1000) for y in range(100, 7200, 1000)]
    image = np.zeros((side, side, 3), np.uint8)
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        image[y0:y1, x0:x1] = index % 250 + 1
    tracemalloc.start()
    found = find(image, Tiles(size=1024, overlap=256))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert boxes_of(found) == sorted(boxes)
    assert peak < side * side, "under one dense mask of the whole image, whatever the number of objects"
