"""What the HTTP application asks of the models behind it, wherever they run.

`serving.local` answers in this process, `serving.deployment` through Ray Serve. `serving.http` knows neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from segray.errors import SegrayError
from segray.masks.instances import Instances

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB, upright."""

Task = Literal["instances", "semantic"]
"""What a student finds: objects, or of each pixel the class."""

RETRY_AFTER_S = 1.0
"""When a caller who finds everything busy may come again."""

MOST_POINTS = 100
"""Points on one object that a request may hold."""


class BusyError(SegrayError):
    """The queue is full; the caller may come again after `retry_after_s`."""

    def __init__(self, retry_after_s: float = RETRY_AFTER_S) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"all copies are busy and the queue is full; come again in {self.retry_after_s:g} s"


class UnreadyError(SegrayError):
    """No copy can answer yet (models load or warm up), or none is left."""


@dataclass(frozen=True, kw_only=True)
class ImageClicks:
    """What a person marked on one image; pixels of the image as uploaded, upright."""

    points_xy: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    """One per point: 1 inside the object, 0 outside of it."""
    box_xyxy: tuple[float, float, float, float] | None = None
    """Upper left corner, lower right corner."""

    def check(self, size_hw: tuple[int, int]) -> None:
        """Whether they mark something on an image of this size.

        Raises:
            ValueError: what is wrong with them, as a sentence.
        """
        height, width = size_hw
        if len(self.labels) != len(self.points_xy):
            raise ValueError(f"{len(self.points_xy)} points need as many labels, {len(self.labels)} are given")
        if len(self.points_xy) > MOST_POINTS:
            raise ValueError(f"{len(self.points_xy)} points are given, at most {MOST_POINTS} are allowed")
        if wrong := [label for label in self.labels if label not in (0, 1)]:
            raise ValueError(f"a label is 1 (inside the object) or 0 (outside of it), not {wrong[0]}")
        if self.box_xyxy is None and 1 not in self.labels:
            raise ValueError("nothing is marked: give a point inside the object, or a box around it")
        for x, y in self.points_xy:
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(f"point ({x:g}, {y:g}) lies outside of the image, which is {width} x {height} pixels")
        if self.box_xyxy is not None:
            x0, y0, x1, y1 = self.box_xyxy
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
                raise ValueError(
                    f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) must go from its upper left to its lower right corner and"
                    f" lie inside the image, which is {width} x {height} pixels"
                )


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model that answers, as `GET /v1/models` tells of it."""

    kind: str
    """student | sam."""
    name: str
    """For people: architecture, or a promoted name."""
    weights_sha256: str
    classes: tuple[str, ...] = ()
    """By class id; none for SAM."""
    task: Task = "instances"
    """Of a student: `semantic` finds one mask per class, which lie over no other and together cover the image."""
    device: str = "cpu"
    loaded: str = ""
    """When, ISO 8601 UTC."""
    refused: str = ""
    """Why a newer student that was asked for does not serve; empty: none was refused."""
    training: dict[str, Any] = field(default_factory=dict)
    """What the student's card says of the run that made it."""


class Backend(Protocol):
    """The models behind the endpoint. All calls may run many times at once."""

    async def segment(self, images: Sequence[Pixels]) -> tuple[list[Instances], ModelInfo]:
        """All that a student finds on each image, best first, whatever the score; and which student, one for all.

        Raises:
            BusyError, UnreadyError: the request was not begun.
        """
        ...

    async def masks(self, image: Pixels, image_sha256: str, clicks: ImageClicks) -> tuple[Instances, ModelInfo]:
        """Up to three masks of what was marked, best first, and who made them; scores are predicted IoUs.

        `image_sha256` names the embedding in the cache.

        Raises:
            BusyError, UnreadyError: as for segment.
            LookupError: the config has no model for clicks.
        """
        ...

    async def models(self) -> list[ModelInfo]:
        """What answers now, the student first.

        Raises:
            UnreadyError: nothing is loaded yet.
        """
        ...
