"""What the HTTP application asks of the models behind it, wherever they run.

`serving.local` answers in this process, `serving.app` by Ray Serve deployments; `serving.http` knows neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segray.errors import SegrayError
from segray.masks.instances import Instances

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB, upright."""


class BusyError(SegrayError):
    """The queue is full; the caller may come again after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"all copies are busy and the queue is full; come again in {self.retry_after_s:g} s"


class UnreadyError(SegrayError):
    """No copy can answer yet (models load or warm up), or none is left."""


@dataclass(frozen=True, kw_only=True)
class Clicks:
    """What a person marked on one image; pixels of the image as uploaded, upright."""

    points_xy: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    """One per point: 1 inside the object, 0 outside of it."""
    box_xyxy: tuple[float, float, float, float] | None = None


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
    device: str = "cpu"
    loaded: str = ""
    """When, ISO 8601 UTC."""
    training: dict[str, Any] = field(default_factory=dict)
    """What the student's card says of the run that made it."""


class Backend(Protocol):
    """The models behind the endpoint. All calls may run many times at once."""

    async def segment(self, images: Sequence[Pixels]) -> list[Instances]:
        """All instances that the student finds on each image, best first, whatever their score.

        Raises:
            BusyError, UnreadyError: the request was not begun.
        """
        ...

    async def masks(self, image: Pixels, image_sha256: str, clicks: Clicks) -> Instances:
        """Up to three masks of what was marked, best first; scores are predicted IoUs, provenance `sam`.

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
