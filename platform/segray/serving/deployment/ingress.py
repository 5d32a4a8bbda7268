"""The copies that speak HTTP: how they ask the models' copies, and what of their metrics Ray shows too.

Knows Ray Serve's handles and errors. What is said in HTTP is `serving.http.application`.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ray.exceptions import RayActorError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle
from ray.util.metrics import Histogram

from segray.config.serve import ClickServing, ServeConfig
from segray.masks.instances import Instances
from segray.serving import backend
from segray.serving.backend import BusyError, ModelInfo, Pixels, UnreadyError
from segray.serving.deployment.deployments import Load, StudentAnswer, StudentReplica, begin_copy
from segray.serving.http.application import create_app
from segray.serving.metrics import DRIFT, Observation


class StudentHandle(Protocol):
    """The student, wherever it is."""

    async def answers(self, images: Sequence[Pixels]) -> list[StudentAnswer]:
        """One per image; BusyError or UnreadyError where one cannot be had."""
        ...

    async def info(self) -> ModelInfo:
        """What answers now."""
        ...


class RemoteStudent:
    """A student in copies of its own."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def answers(self, images: Sequence[Pixels]) -> list[StudentAnswer]:
        """See `StudentHandle`. Each image is a call of its own, so that images of different requests share batches.

        Where one cannot be had, nobody works on the others any more.
        """
        responses = [self._handle.segment.remote(image) for image in images]
        try:
            return [await _told(one) for one in responses]
        except BaseException:
            for one in responses:
                # Ray raises here once more what it refused a call for.
                with suppress(RayServeException):
                    one.cancel()  # type: ignore[no-untyped-call]
            raise

    async def info(self) -> ModelInfo:
        """See `StudentHandle`."""
        info: ModelInfo = await _told(self._handle.info.remote())
        return info


class InProcessStudent:
    """A student in this very copy, of which no more than `most` images are asked at a time."""

    def __init__(self, copy: StudentReplica, most: int) -> None:
        self._copy = copy
        self._most = most
        self._asked = 0

    async def answers(self, images: Sequence[Pixels]) -> list[StudentAnswer]:
        """See `StudentHandle`."""
        if self._asked + len(images) > self._most:
            raise BusyError()
        self._asked += len(images)
        try:
            return list(await asyncio.gather(*(self._copy.segment(one) for one in images)))
        finally:
            self._asked -= len(images)

    async def info(self) -> ModelInfo:
        """See `StudentHandle`."""
        return await self._copy.info()


class RemoteClicks:
    """The SAM for clicks, in copies of its own."""

    def __init__(self, handle: DeploymentHandle[Any], settings: ClickServing) -> None:
        self._handle = handle
        self._settings = settings

    async def masks(self, image: Pixels, image_sha256: str, clicks: backend.ImageClicks) -> StudentAnswer:
        """Masks of what is marked. Clicks on one image go to one copy, which has its embedding."""
        to_one = self._handle.options(session_id=image_sha256)
        answer: StudentAnswer = await _told(to_one.masks.remote(image, image_sha256, clicks))
        return answer

    async def info(self) -> ModelInfo:
        """What answers; copies that may all be asleep are not woken to say so."""
        if self._settings.replicas.min == 0:
            return ModelInfo(kind="sam", name=self._settings.sam.display_name, weights_sha256="")
        info: ModelInfo = await _told(self._handle.info.remote())
        return info


class ReplicasBackend:
    """A `Backend` of Ray Serve's copies."""

    def __init__(self, student: StudentHandle, clicks: RemoteClicks | None) -> None:
        self._student = student
        self._clicks = clicks

    async def segment(self, images: Sequence[Pixels]) -> tuple[list[Instances], ModelInfo]:
        """See `Backend`. One student answers for all of a request.

        Images that an older one has taken while students change are asked about again.
        """
        answers = await self._student.answers(images)
        while older := _older(answers):
            again = await self._student.answers([images[index] for index in older])
            for index, answer in zip(older, again, strict=True):
                answers[index] = answer
        return [one.found for one in answers], answers[0].model

    async def masks(self, image: Pixels, image_sha256: str, clicks: backend.ImageClicks) -> tuple[Instances, ModelInfo]:
        """See `Backend`."""
        if self._clicks is None:
            raise LookupError("the config has no model for clicks")
        answer = await self._clicks.masks(image, image_sha256, clicks)
        return answer.found, answer.model

    async def models(self) -> list[ModelInfo]:
        """See `Backend`."""
        return list(await asyncio.gather(self._student.info(), *([self._clicks.info()] if self._clicks else [])))


class Ingress:
    """A copy of the HTTP application, the student in copies of its own."""

    def __init__(
        self,
        config: ServeConfig,
        home: str,
        student: DeploymentHandle[Any],
        clicks: DeploymentHandle[Any] | None,
    ) -> None:
        begin_copy(home)
        self._config = config
        self._backend = ReplicasBackend(RemoteStudent(student), _clicks(config, clicks))

    def __serve_build_asgi_app__(self) -> Any:
        """Ray Serve's call, after the constructor."""
        return create_app(self._backend, self._config, observers=(RayMetrics().image,))


class StudentIngress(StudentReplica):
    """A copy of the student that speaks HTTP itself."""

    def __init__(self, config: ServeConfig, home: str, load: Load, clicks: DeploymentHandle[Any] | None) -> None:
        super().__init__(config.student, home, load)
        self._config = config
        most = config.student.max_ongoing + config.limits.max_queued
        self._backend = ReplicasBackend(InProcessStudent(self, most), _clicks(config, clicks))

    def __serve_build_asgi_app__(self) -> Any:
        """Ray Serve's call, after the constructor."""
        return create_app(self._backend, self._config, observers=(RayMetrics().image,))


class RayMetrics:
    """What drifts, once more among Ray's own metrics, where the copies' values are summed."""

    def __init__(self) -> None:
        # Ray's bounds are above 0: what lies at 0 falls into the first bucket.
        self._drift = {
            one: Histogram(one.name, one.about, [bound for bound in one.buckets if bound > 0]) for one in DRIFT
        }

    def image(self, seen: Observation) -> None:
        """Count a segmented image."""
        for one, counts in self._drift.items():
            for value in one.values(seen):
                counts.observe(value)


def _clicks(config: ServeConfig, handle: DeploymentHandle[Any] | None) -> RemoteClicks | None:
    return RemoteClicks(handle, config.clicks) if handle is not None and config.clicks is not None else None


def _older(answers: Sequence[StudentAnswer]) -> list[int]:
    """Which images were not answered by the student that was loaded last."""
    newest = max(answers, key=lambda one: one.model.loaded).model.weights_sha256
    return [index for index, one in enumerate(answers) if one.model.weights_sha256 != newest]


async def _told(response: Awaitable[Any]) -> Any:
    """What a copy answers; Ray's errors in our words."""
    try:
        return await response
    except BackPressureError as error:
        raise BusyError() from error
    except (DeploymentUnavailableError, ReplicaUnavailableError, RayActorError) as error:
        raise UnreadyError("no copy of the model could answer") from error
