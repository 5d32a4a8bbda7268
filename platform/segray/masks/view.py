"""`View`: which part of an image a canvas shows, and an image's masks as that canvas shows them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

        Instances of which nothing is on the canvas are left out. Only what the window touches is decoded.
        """
        raise NotImplementedError
