"""Tiled mask generation: large images piece by piece (`segray.masks.tiles` cuts and joins)."""

from collections.abc import Sequence

from segray.config.sam import Tiles
from segray.labels.labeler import Generator, Pixels
from segray.masks.instances import Instances
from segray.masks.tiles import cut, join


class TiledGenerator:
    """A generator over a generator: images larger than a tile are cut, the rest go through whole."""

    def __init__(self, generator: Generator, tiles: Tiles, nms_threshold: float) -> None:
        self.generator = generator
        self.tiles = tiles
        self.nms_threshold = nms_threshold

    def generate(self, images: Sequence[Pixels]) -> list[Instances]:
        """Masks of each image."""
        whole = [index for index, image in enumerate(images) if max(image.shape[:2]) <= self.tiles.size]
        found = dict(zip(whole, self.generator.generate([images[index] for index in whole]), strict=True))
        return [found[i] if i in found else self._tiled(image) for i, image in enumerate(images)]

    def _tiled(self, image: Pixels) -> Instances:
        size_hw = (image.shape[0], image.shape[1])
        tiles = cut(size_hw, self.tiles)
        parts = [self.generator.generate([image[t.y0 : t.y1, t.x0 : t.x1]])[0] for t in tiles]
        return join(parts, tiles, size_hw, self.tiles).nms(self.nms_threshold)
