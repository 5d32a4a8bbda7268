"""What the endpoint tells of itself: requests, refusals, and whether the images and scores still look as they used to.

One registry per application, in Prometheus' text. What drifts is measured before the caller's own threshold, so that
callers who ask differently do not look like another world. Others may watch the same `Observation`s.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import prometheus_client
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segray.masks.instances import Instances
from segray.serving.backend import Pixels
from segray.serving.http.problems import CUT_OFF, REFUSED

OTHER: Final = "other"
"""The route of files of the page, and of paths that callers made up."""
HUNG_UP: Final = 499
"""Status of a request whose caller hung up, as in nginx: no fault of the server."""
CONTENT_TYPE: Final = prometheus_client.CONTENT_TYPE_LATEST
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SHARES: Final = tuple(step / 10 for step in range(1, 11))
INSTANCES: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
MEGAPIXELS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_SAMPLE: Final = 128
_COUNTED: Final = 0.3


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one segmented image says of the world that the student sees."""

    scores: tuple[float, ...]
    """Of all that the student found, whatever the score."""
    instances: int
    """Those with a score of at least 0.3."""
    brightness: float
    """Mean of all channels, 0 to 1."""
    contrast: float
    """Standard deviation of the grey values, in the same unit."""
    megapixels: float


@dataclass(frozen=True, kw_only=True)
class DriftHistogram:
    """A histogram of what images and scores look like."""

    name: str
    """As Prometheus shows it; Ray puts `ray_` before it."""
    about: str
    buckets: tuple[float, ...]
    """Upper bounds, ascending."""
    values: Callable[[Observation], tuple[float, ...]]
    """What an image adds to it."""


DRIFT: Final = (
    DriftHistogram(name="segray_scores", about="Of all instances.", buckets=SHARES, values=lambda seen: seen.scores),
    DriftHistogram(
        name="segray_instances",
        about="Per image, of score 0.3 or more.",
        buckets=INSTANCES,
        values=lambda seen: (seen.instances,),
    ),
    DriftHistogram(
        name="segray_image_brightness", about="Mean, 0 to 1.", buckets=SHARES, values=lambda seen: (seen.brightness,)
    ),
    DriftHistogram(
        name="segray_image_contrast",
        about="Standard deviation.",
        buckets=SHARES[:5],
        values=lambda seen: (seen.contrast,),
    ),
    DriftHistogram(
        name="segray_image_megapixels", about="Size.", buckets=MEGAPIXELS, values=lambda seen: (seen.megapixels,)
    ),
)
"""What drifts; each application's own registry and Ray's metrics hold one of each."""

Observer = Callable[[Observation], None]
"""Called once per segmented image, in any thread."""


def observe(pixels: Pixels, found: Instances) -> Observation:
    """Measured on about 128 x 128 of the image's pixels."""
    height, width = pixels.shape[:2]
    step = max(1, min(height, width) // _SAMPLE)
    grey = pixels[::step, ::step].mean(axis=2) / 255
    return Observation(
        scores=tuple(found.scores.tolist()),
        instances=int((found.scores >= _COUNTED).sum()),
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        megapixels=height * width / 1e6,
    )


class Metrics:
    """The registry of one application, and its part of the request path."""

    def __init__(self) -> None:
        self._registry = registry = prometheus_client.CollectorRegistry()
        counter, histogram = prometheus_client.Counter, prometheus_client.Histogram
        self._requests = counter("segray_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._seconds = histogram(
            "segray_request_seconds",
            "From the request's head to the answer's end.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._refused = counter("segray_refused", "Requests answered by a problem.", ["reason"], registry=registry)
        self._images = counter("segray_images", "Images segmented.", registry=registry)
        self._drift = {one: histogram(one.name, one.about, buckets=one.buckets, registry=registry) for one in DRIFT}

    def image(self, seen: Observation) -> None:
        """Count a segmented image."""
        self._images.inc()
        for one, counts in self._drift.items():
            for value in one.values(seen):
                counts.observe(value)

    def text(self) -> bytes:
        """All of it as `CONTENT_TYPE`."""
        return prometheus_client.generate_latest(self._registry)

    def request(self, route: str, status: int, seconds: float, refused: str | None) -> None:
        """Count a request; `route` is the path's pattern, never what a caller made up."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if refused is not None:
            self._refused.labels(refused).inc()


class RequestCounter:
    """Middleware: counts every request, also those that fail."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and time it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            # The server ends what nobody waits for any more.
            status = HUNG_UP
            raise
        finally:
            if scope.get(REFUSED) == CUT_OFF:
                status = HUNG_UP
            route = getattr(scope.get("route"), "path", OTHER)
            refused = scope.get(REFUSED)
            self._metrics.request(route, status, perf_counter() - start, refused)
