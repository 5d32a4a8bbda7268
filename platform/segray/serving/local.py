"""The endpoint in this process, without Ray: `segray serve --no-ray`.

One copy of the student and of the click model in threads, one request at a time: for one person, for tests, and to
compare a cluster's answers with.
"""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import anyio
import anyio.to_thread
import uvicorn
from fastapi import FastAPI

from segray.config.serve import ServeConfig
from segray.masks.instances import Instances
from segray.serving.backend import BusyError, ImageClicks, ModelInfo, Pixels, UnreadyError
from segray.serving.clicks import ClickModel
from segray.serving.http.application import create_app
from segray.serving.student import ServedStudent

Model = TypeVar("Model")
GRACE_S: Final = 5
"""Seconds that in-flight requests may take once the endpoint is told to stop."""


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


@contextmanager
def serving_locally(config: ServeConfig) -> Iterator[str]:
    """Run the endpoint for the time of the `with`; yields its address once it answers.

    Raises:
        ConfigError: the key file cannot be used.
        RefusedError, BackendError: a model cannot be loaded.
        OSError: the port is taken.
    """
    backend = LocalBackend(config)
    app = create_app(backend, config)
    backend.load()
    with http_server(app, config.host, config.port) as address:
        yield address


@contextmanager
def http_server(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve an application from a thread, on any free port if `port` is 0; yields its address.

    In-flight requests are finished at the end, for up to `GRACE_S` seconds.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_S))
    with socket.create_server((host, port), family=family) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="segray-http")
        thread.start()
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _loaded(model: Model | None) -> Model:
    if model is None:
        raise UnreadyError("the models are not loaded yet")
    return model
