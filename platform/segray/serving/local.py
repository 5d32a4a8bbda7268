"""A backend in this process: the student and the click model in threads, no Ray.

For tests, for measuring what the way to a cluster costs, and as what a cluster's answers are compared with.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from segray.config.serve import ServeConfig
from segray.masks.instances import Instances
from segray.serving.backend import BusyError, ImageClicks, ModelInfo, Pixels, UnreadyError
from segray.serving.clicks import ClickModel
from segray.serving.student import ServedStudent

Model = TypeVar("Model")


class LocalBackend:
    """Answers one request at a time; as many images wait as the config's `limits.max_queued` says."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._student: ServedStudent | None = None
        self._clicks: ClickModel | None = None
        self._one = anyio.CapacityLimiter(1)
        self._queued = 0

    def load(self) -> None:
        """Load and warm the models; until then all calls are refused.

        Raises:
            RefusedError, BackendError: a model cannot be had.
        """
        self._clicks = ClickModel(self._config.clicks) if self._config.clicks else None
        self._student = ServedStudent(self._config.student)

    async def segment(self, images: Sequence[Pixels]) -> tuple[list[Instances], ModelInfo]:
        """See `Backend.segment`."""
        student = _loaded(self._student)
        with self._queue(len(images)):
            return await anyio.to_thread.run_sync(student.answer, images, limiter=self._one)

    async def masks(self, image: Pixels, image_sha256: str, clicks: ImageClicks) -> tuple[Instances, ModelInfo]:
        """See `Backend.masks`."""
        if self._config.clicks is None:
            raise LookupError("the config has no model for clicks")
        model = _loaded(self._clicks)
        with self._queue(1):
            found = await anyio.to_thread.run_sync(model.masks, image, image_sha256, clicks, limiter=self._one)
        return found, model.info()

    async def models(self) -> list[ModelInfo]:
        """See `Backend.models`."""
        student = _loaded(self._student)
        return [student.info(), *([self._clicks.info()] if self._clicks else [])]

    @contextmanager
    def _queue(self, images: int) -> Iterator[None]:
        if self._queued + images > self._config.limits.max_queued:
            raise BusyError()
        self._queued += images
        try:
            yield
        finally:
            self._queued -= images


def _loaded(model: Model | None) -> Model:
    if model is None:
        raise UnreadyError("the models are not loaded yet")
    return model
