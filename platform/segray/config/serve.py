"""The serve job: which student behind which endpoint, within which limits, on how many replicas."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.registry import SamConfig
from segray.config.types import Count, CountOrZero, Device, NonNegative, Positive, Precision
from segray.config.uris import Uri


@config
class Batching:
    """How requests of different callers share a pass of the student; a batch ends at whichever limit comes first."""

    max_images: Count = 8
    """Images in a batch."""
    max_megapixels: Positive = 16.0
    """Sum of the images' sizes in a batch, in millions of pixels; an image larger than this goes alone."""
    wait_ms: NonNegative = 5.0
    """How long the first image of a batch waits for others, in milliseconds."""


@config
class Replicas:
    """How many copies of a deployment, and what each one is given."""

    min: CountOrZero = 1
    """Copies that stay; 0 lets it go to none, at the price of a cold start."""
    max: Count = 1
    """Copies under load."""
    cpus: NonNegative = 1.0
    """Ray CPUs of each copy."""
    gpus: NonNegative = 0.0
    """Ray GPUs of each copy; a fraction shares one."""
    upscale_delay_s: NonNegative = 10.0
    """How long load must last before a copy is added, in seconds."""
    downscale_delay_s: NonNegative = 300.0
    """How long it must be gone before one is taken away, in seconds."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "Replicas":
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


@config
class StudentServing:
    """The deployment that holds the student."""

    uri: Uri
    """A student's folder, or the `promoted/NAME.json` of a folder of runs."""
    device: Device = "auto"
    """Where it runs; auto takes CUDA where present."""
    precision: Precision = "float32"
    """Autocast type; the half types need CUDA."""
    compile: bool = False
    """`torch.compile` it; needs CUDA, and lengthens the warm-up by minutes."""
    threads: Count = 1
    """CPU threads of a pass."""
    batching: Batching = Batching()
    replicas: Replicas = Replicas()
    max_ongoing: Count = 16
    """Images a copy holds, in a batch or waiting for one; each image of a request counts."""
    target_ongoing: Positive = 8.0
    """Images per copy that autoscaling aims at."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "StudentServing":
        if self.batching.max_images > self.max_ongoing:
            raise ValueError(
                f"a batch of batching.max_images {self.batching.max_images} can never fill while a copy holds"
                f" max_ongoing {self.max_ongoing}: raise max_ongoing, best to twice max_images"
            )
        if self.target_ongoing > self.max_ongoing:
            raise ValueError(
                f"target_ongoing {self.target_ongoing:g} is above max_ongoing {self.max_ongoing}: a copy can never"
                " hold so many, and none would ever be added"
            )
        if self.precision != "float32" and self.device == "cpu":
            raise ValueError(f"precision {self.precision!r} needs CUDA, device is 'cpu'")
        return self


@config
class ClickServing:
    """The deployment that turns clicks and boxes into masks, for people who correct labels."""

    sam: SamConfig
    """Which model."""
    cached_images: Count = 64
    """Embeddings kept per copy, the longest unused dropped first."""
    replicas: Replicas = Replicas()
    max_ongoing: Count = 8
    """Requests a copy holds."""


@config
class RequestLimits:
    """What a request may be; what is beyond is refused before it costs anything."""

    max_body_mb: Positive = 32.0
    """Size of a request's body in MB."""
    max_megapixels: Positive = 50.0
    """Size of one image in millions of pixels, read from its header before it is decoded."""
    max_held_megapixels: Positive = 200.0
    """Size of all images that a copy of the ingress holds at a time, in millions of pixels of 3 bytes: those of one
    request are refused beyond it with 413, those of many with 429."""
    max_images: Count = 16
    """Images in a request."""
    max_instances: Count = 400
    """Most instances that a caller may ask for, per image."""
    timeout_s: Positive = 30.0
    """After this a request is given up, in seconds."""
    max_queued: Count = 64
    """Images that wait for a copy to be free; beyond it the answer is 429 with Retry-After."""

    @pydantic.model_validator(mode="after")
    def _holds_one(self) -> "RequestLimits":
        if self.max_megapixels > self.max_held_megapixels:
            raise ValueError(
                f"max_megapixels {self.max_megapixels:g} is above max_held_megapixels {self.max_held_megapixels:g}: an"
                " image of that size could never be held"
            )
        if self.max_images > self.max_queued:
            raise ValueError(
                f"max_images {self.max_images} is above max_queued {self.max_queued}: a request of so many would be"
                " refused even by idle copies"
            )
        return self


@config
class NoKeys:
    """Everyone may call. Must be said explicitly, and only on a loopback address unless `exposed` is said too."""

    kind: Literal["off"]
    exposed: bool = False
    """Serve to the network without keys all the same."""


@config
class KeyFile:
    """Callers are known by a key, of which only the hash is kept (`segray key` makes one)."""

    kind: Literal["file"]
    path: str
    """A file with one line per key, `NAME SHA256-HEX`; read again when it changes, so that secrets can be
    rotated."""


Keys = Annotated[NoKeys | KeyFile, pydantic.Field(discriminator="kind")]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@config
class ServeConfig:
    """Serve a student: `segray serve CONFIG`."""

    job: Literal["serve"]
    """What kind of job this file describes."""
    keys: Keys
    """Who may call."""
    student: StudentServing
    """What answers `POST /v1/segment`."""
    clicks: ClickServing | None = None
    """What answers `POST /v1/masks`; none: nothing does."""
    ingress: Replicas | None = Replicas()
    """Copies that decode, check and encode, on processors of their own; none: each copy of the student does it itself,
    which is quicker where one machine does all."""
    ingress_max_ongoing: Count = 64
    """Requests that a copy holds which speaks HTTP."""
    limits: RequestLimits = RequestLimits()
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is the network. Inside a RayService the cluster's own setting counts."""
    port: Annotated[int, pydantic.Field(ge=0, le=65535)] = 8000
    """As for host."""
    page: bool = True
    """Whether the page at / is served."""

    @property
    def copies(self) -> dict[str, Replicas]:
        """What runs, by the name of its table."""
        clicks = None if self.clicks is None else self.clicks.replicas
        asked = {"student": self.student.replicas, "ingress": self.ingress, "clicks": clicks}
        return {name: one for name, one in asked.items() if one is not None}

    @pydantic.model_validator(mode="after")
    def _batches(self) -> "ServeConfig":
        batching, copies = self.student.batching, 1 if self.ingress is None else self.ingress.max
        most = self.ingress_max_ongoing * copies * self.limits.max_images
        if batching.max_images > most:
            raise ValueError(
                f"a batch of student.batching.max_images {batching.max_images} can never fill: {copies} x"
                f" ingress_max_ongoing {self.ingress_max_ongoing} requests of limits.max_images"
                f" {self.limits.max_images} hold {most} images"
            )
        if batching.wait_ms / 1e3 >= self.limits.timeout_s:
            raise ValueError(
                f"student.batching.wait_ms {batching.wait_ms:g} is no less than limits.timeout_s"
                f" {self.limits.timeout_s:g}: a request that waits alone would always be given up"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _guarded(self) -> "ServeConfig":
        if isinstance(self.keys, NoKeys) and not self.keys.exposed and self.host not in LOOPBACK:
            raise ValueError(
                f"keys are off and host {self.host!r} is no loopback address: give a key file, or say"
                " keys.exposed = true"
            )
        return self
