"""`View`: which part of an image a canvas shows, and an image's masks as that canvas shows them.

A canvas pixel shows the image pixel in which its centre falls; an image is resized by the same centres
(`training.augmentation.geometry`), so that masks stay on their pixels. Knows no pixels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segray.masks import rle
from segray.masks.instances import Instances


@dataclass(frozen=True, kw_only=True)
class View:
    """An image resized to `resized_hw`, mirrored where `flipped`, of which a window at `origin_yx` lies on the canvas.

    The window starts at the canvas's upper left; what the image does not fill, on the right and below, is padding.
    """

    image_hw: tuple[int, int]
    """The image as it is in its file, pixels."""
    resized_hw: tuple[int, int]
    """After the resize."""
    origin_yx: tuple[int, int]
    """Upper left of the window in the resized and mirrored image, not negative."""
    flipped: bool
    """Mirrored left to right, after the resize and before the window is cut."""
    canvas_hw: tuple[int, int]
    """Size of the canvas."""

    @property
    def valid_hw(self) -> tuple[int, int]:
        """Rows and columns of the canvas that hold image."""
        (height, width), (y0, x0), (rows, columns) = self.resized_hw, self.origin_yx, self.canvas_hw
        return min(rows, height - y0), min(columns, width - x0)

    def masks(self, instances: Instances) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """The image's masks on the canvas (N, H, W), and which of its instances they are (N,).

        Instances of which nothing is on the canvas are left out. Only what the window touches is decoded: of each mask
        the columns of its box that are seen, one mask at a time.

        Raises:
            ValueError: instances of an image of another size.
        """
        if instances.size_hw != self.image_hw:
            raise ValueError(f"instances of size {instances.size_hw} in a view of an image of size {self.image_hw}")
        rows, columns = self._seen()
        upper, lower = _between(rows, instances.boxes_xyxy[:, 1], instances.boxes_xyxy[:, 3])
        left, right = _between(columns, instances.boxes_xyxy[:, 0], instances.boxes_xyxy[:, 2])
        touched = np.flatnonzero((upper < lower) & (left < right)).tolist()
        parts = {
            index: self._part(
                instances.counts[index], rows[upper[index] : lower[index]], columns[left[index] : right[index]]
            )
            for index in touched
        }
        shown = [index for index, part in parts.items() if part.any()]
        canvas = np.zeros((len(shown), *self.canvas_hw), dtype=np.bool_)
        for out, index in zip(canvas, shown, strict=True):
            first = len(columns) - right[index] if self.flipped else left[index]
            part = parts[index][:, ::-1] if self.flipped else parts[index]
            out[upper[index] : lower[index], first : first + part.shape[1]] = part
        return canvas, np.asarray(shown, dtype=np.int64)

    def _part(
        self, counts: rle.Counts, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Some rising rows and columns of one of the image's masks."""
        first = int(columns[0])
        decoded = rle.decode_columns(counts, self.image_hw, first, int(columns[-1]) + 1)
        return decoded[rows[:, None], columns - first]

    def _seen(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The image's rows and columns that the window shows, both rising: those of a mirrored view are turned back."""
        (height, width), (y0, x0) = self.valid_hw, self.origin_yx
        x0 = self.resized_hw[1] - x0 - width if self.flipped else x0
        return (
            _centres(y0, height, self.resized_hw[0], self.image_hw[0]),
            _centres(x0, width, self.resized_hw[1], self.image_hw[1]),
        )


def _centres(start: int, number: int, resized: int, size: int) -> npt.NDArray[np.int64]:
    """The pixels of a side of `size` in which the centres of `number` resized ones fall, from `start` on."""
    # Whole numbers: a centre that lies on a border must fall to the same side everywhere.
    return (2 * (start + np.arange(number)) + 1) * size // (2 * resized)


def _between(
    rising: npt.NDArray[np.int64], low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which slice of `rising` lies in each [low, high)."""
    return np.searchsorted(rising, low), np.searchsorted(rising, high)
