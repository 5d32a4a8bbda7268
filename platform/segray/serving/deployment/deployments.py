"""What runs in Ray Serve's copies of the models: the student, and the SAM for clicks.

Torch has threads of its own, so that a copy answers Ray's health checks while it computes. Knows no HTTP; what a model
does is `serving.student` and `serving.clicks`.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import torch
from ray.util.metrics import Counter

from segray.config.base import build, config
from segray.config.serve import ClickServing, StudentServing
from segray.masks.instances import Instances
from segray.serving.backend import ImageClicks, ModelInfo, Pixels
from segray.serving.batching import BatchBounds, Batcher
from segray.serving.clicks import ClickModel
from segray.serving.student import RefusedError

T = TypeVar("T")
_LOG: Final = logging.getLogger("ray.serve")


class StudentModel(Protocol):
    """What the student's copies hold; `serving.student.ServedStudent` is one."""

    def answer(self, images: Sequence[Pixels]) -> tuple[list[Instances], ModelInfo]:
        """All instances of each image, and who found them."""
        ...

    def info(self) -> ModelInfo:
        """What answers now."""
        ...

    def swap(self, uri: str) -> None:
        """Let another one answer; RefusedError where it cannot."""
        ...


Load = Callable[[StudentServing, str], StudentModel]
"""Makes the model at a URI; RefusedError where there is none."""


@dataclass(frozen=True, kw_only=True)
class StudentAnswer:
    """What a copy says of one image."""

    found: Instances
    model: ModelInfo
    """Who found it: while students change, not all answer as one."""


@config
class StudentUserConfig:
    """Settings of the student deployment's `user_config`: the student to serve from now on, without a restart."""

    student: str
    """Folder of a student, or the `promoted/NAME.json` of a folder of runs, as in `student.uri` of the config."""
    reload: str = ""
    """Any text. A change of it loads the student again, for example after the promoted name was given to another
    student."""


class StudentReplica:
    """A copy of the student."""

    def __init__(self, settings: StudentServing, home: str, load: Load) -> None:
        begin_copy(home)
        self._settings = settings
        self._load = load
        self._loader = ThreadPoolExecutor(1, "loader", torch.set_num_threads, (settings.threads,))
        self._model: StudentModel | None = None
        self._refused = ""
        self._refusals = Counter("segray_students_refused", "Students that were asked for and not taken.")
        self._change = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()
        batching = settings.batching
        self._batches = Batcher[Pixels, StudentAnswer](
            self._answer,
            BatchBounds(items=batching.max_images, size=batching.max_megapixels * 1e6, wait_s=batching.wait_ms / 1e3),
            lambda image: float(image.shape[0] * image.shape[1]),
            ThreadPoolExecutor(1, "student", torch.set_num_threads, (settings.threads,)),
        )

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Ray Serve's call: before the first request, and whenever `user_config` changes.

        A change goes on beside the requests and this returns at once: while it runs, Ray sends the copy nothing.
        """
        choice = build(StudentUserConfig, user_config, "user_config of the student")
        if self._model is None:
            self._model = await self._first(choice.student)
        else:
            change = asyncio.create_task(self._swap(self._model, choice.student))
            self._changes.add(change)
            change.add_done_callback(self._changes.discard)

    async def segment(self, image: Pixels) -> StudentAnswer:
        """All instances of one image; images of many requests share a batch."""
        return await self._batches(image)

    async def info(self) -> ModelInfo:
        """What answers now, and why a newer one does not."""
        return replace(_loaded(self._model).info(), refused=self._refused)

    async def _first(self, uri: str) -> StudentModel:
        """The student at `uri`; where it is refused, the config's own.

        A copy that starts while others serve on after a refusal must not fail for it.
        """
        try:
            return await self._in_loader(lambda: self._load(self._settings, uri))
        except RefusedError as error:
            if uri == self._settings.uri:
                raise
            self._refuse(uri, error)
            return await self._in_loader(lambda: self._load(self._settings, self._settings.uri))

    async def _swap(self, model: StudentModel, uri: str) -> None:
        async with self._change:
            try:
                await self._in_loader(lambda: model.swap(uri))
                self._refused = ""
            except Exception as error:  # whatever it is, no memory for two students say, the one before goes on
                self._refuse(uri, error)

    def _refuse(self, uri: str, error: Exception) -> None:
        known = isinstance(error, RefusedError)
        self._refused = (
            str(error) if known else "it failed while it was loaded; the log of the copy that tried says why"
        )
        self._refusals.inc()
        _LOG.error("student %s is refused, another one serves: %s", uri, error, exc_info=None if known else error)

    async def _in_loader(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._loader, work)

    def _answer(self, images: list[Pixels]) -> list[StudentAnswer]:
        found, model = _loaded(self._model).answer(images)
        return [StudentAnswer(found=one, model=model) for one in found]


class ClicksReplica:
    """A copy of the SAM for clicks."""

    def __init__(self, settings: ClickServing, home: str) -> None:
        begin_copy(home)
        threads = max(1, int(settings.replicas.cpus))
        self._threads = ThreadPoolExecutor(threads, "clicks", torch.set_num_threads, (1,))
        self._model = ClickModel(settings)

    async def masks(self, image: Pixels, image_sha256: str, clicks: ImageClicks) -> StudentAnswer:
        """Masks of what was marked on an image."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._model.masks, image, image_sha256, clicks)
        return StudentAnswer(found=found, model=self._model.info())

    async def info(self) -> ModelInfo:
        """What answers."""
        return self._model.info()


def begin_copy(home: str) -> None:
    """Set up a copy's process.

    Relative paths of the config mean to it what they mean to the command that started it. The product's own log lines
    go where Ray Serve's go, into the copy's log, with time and level.
    """
    if Path(home).is_dir():
        os.chdir(home)
    ours = logging.getLogger("segray")
    ours.handlers[:] = _LOG.handlers
    ours.setLevel(logging.INFO)
    ours.propagate = not _LOG.handlers


def _loaded(model: StudentModel | None) -> StudentModel:
    assert model is not None, "Ray Serve calls reconfigure before anything else"
    return model
