"""The copies that speak HTTP: how they ask the models' copies, and what of their metrics Ray shows too.

Knows Ray Serve's handles and errors. What is said in HTTP is `serving.http`.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final

from ray.exceptions import RayActorError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle
from ray.util.metrics import Histogram

from segray.config.serve import ServeConfig
from segray.masks.instances import Instances
from segray.serving.backend import BusyError, Clicks, ModelInfo, Pixels, UnreadyError
from segray.serving.deployments import Answer, go_home
from segray.serving.http import create_app
from segray.serving.metrics import INSTANCES, MEGAPIXELS, SHARES, Observation

RETRY_AFTER_S: Final = 1.0
"""What a caller is told who finds the queue full."""

_ANSWERED: ContextVar[list[ModelInfo] | None] = ContextVar("answered", default=None)


class HandleBackend:
    """A `Backend` whose models are other deployments."""

    def __init__(self, student: DeploymentHandle[Any], clicks: DeploymentHandle[Any] | None) -> None:
        self._student = student
        self._clicks = clicks

    async def segment(self, images: Sequence[Pixels]) -> list[Instances]:
        """See `Backend`. Each image is a call of its own, so that images of different requests share batches.

        One student answers for all: images that an older one has taken while students change are asked about again.
        """
        answers = await self._ask(images)
        while older := _older(answers):
            for index, answer in zip(older, await self._ask([images[index] for index in older]), strict=True):
                answers[index] = answer
        _ANSWERED.set([one.model for one in answers[:1]])
        return [one.found for one in answers]

    async def masks(self, image: Pixels, image_sha256: str, clicks: Clicks) -> Instances:
        """See `Backend`. Clicks on one image go to one copy, which has its embedding."""
        if self._clicks is None:
            raise LookupError("the config has no model for clicks")
        to_one = self._clicks.options(session_id=image_sha256)
        answer: Answer = await _told(to_one.remote(image, image_sha256, clicks))
        _ANSWERED.set([answer.model])
        return answer.found

    async def models(self) -> list[ModelInfo]:
        """See `Backend`. Within a request that was answered: who answered it, and no more."""
        answered = _ANSWERED.get()
        if answered is not None:
            return answered
        handles = [self._student, *([self._clicks] if self._clicks else [])]
        return list(await asyncio.gather(*(_told(one.info.remote()) for one in handles)))

    async def _ask(self, images: Sequence[Pixels]) -> list[Answer]:
        """One answer per image; where one cannot be had, nobody works on the others any more."""
        responses = [self._student.remote(image) for image in images]
        try:
            return [await _told(one) for one in responses]
        except BaseException:
            for one in responses:
                # Ray raises here once more what it refused a call for.
                with suppress(RayServeException):
                    one.cancel()  # type: ignore[no-untyped-call]
            raise


class Ingress:
    """A copy of the HTTP application."""

    def __init__(
        self,
        settings: ServeConfig,
        home: str,
        student: DeploymentHandle[Any],
        clicks: DeploymentHandle[Any] | None,
    ) -> None:
        go_home(home)
        self._settings = settings
        self._backend = HandleBackend(student, clicks)

    def __serve_build_asgi_app__(self) -> Any:
        """Ray Serve's call, after the constructor."""
        return create_app(self._backend, self._settings, observers=(RayMetrics().image,))


class RayMetrics:
    """What drifts, once more among Ray's own metrics, where the copies' values are summed."""

    def __init__(self) -> None:
        self._scores = Histogram("segray_scores", "Of all instances.", list(SHARES))
        self._instances = Histogram("segray_instances", "Per image, of score 0.3 or more.", list(INSTANCES[1:]))
        self._brightness = Histogram("segray_image_brightness", "Mean, 0 to 1.", list(SHARES))
        self._contrast = Histogram("segray_image_contrast", "Standard deviation.", list(SHARES))
        self._megapixels = Histogram("segray_image_megapixels", "Size.", list(MEGAPIXELS))

    def image(self, seen: Observation) -> None:
        """Count a segmented image."""
        for score in seen.scores:
            self._scores.observe(score)
        self._instances.observe(seen.instances)
        self._brightness.observe(seen.brightness)
        self._contrast.observe(seen.contrast)
        self._megapixels.observe(seen.megapixels)


def _older(answers: Sequence[Answer]) -> list[int]:
    """Which images were not answered by the student that was loaded last."""
    newest = max(answers, key=lambda one: one.model.loaded).model.weights_sha256
    return [index for index, one in enumerate(answers) if one.model.weights_sha256 != newest]


async def _told(response: Awaitable[Any]) -> Any:
    """What a copy answers; Ray's errors in our words."""
    try:
        return await response
    except BackPressureError as error:
        raise BusyError(RETRY_AFTER_S) from error
    except (DeploymentUnavailableError, ReplicaUnavailableError, RayActorError) as error:
        raise UnreadyError("no copy of the model could answer") from error
