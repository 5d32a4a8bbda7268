"""The serve job: which student behind which endpoint, within which limits, on how many replicas."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.model_kinds import SamConfig
from segray.config.types import Count, CountOrZero, Device, NonNegative, Positive, Precision
from segray.config.uris import Uri


@config
class Batching:
    """Limits of a batch, in which requests of different callers share a pass of the student. The first limit reached
    ends a batch.
    """

    max_images: Count = 8
    """Largest number of images in a batch."""
    max_megapixels: Positive = 16.0
    """Largest sum of the images' sizes in a batch, in millions of pixels; a larger image is processed alone."""
    wait_ms: NonNegative = 5.0
    """Longest time that the first image of a batch waits for others, in milliseconds."""


@config
class Replicas:
    """Number of replicas of a deployment, and the resources each reserves."""

    min: CountOrZero = 1
    """Smallest number of replicas; with 0, a request to an idle deployment waits for a cold start."""
    max: Count = 1
    """Largest number of replicas under load."""
    cpus: NonNegative = 1.0
    """Ray CPUs reserved for each replica."""
    gpus: NonNegative = 0.0
    """Ray GPUs reserved for each replica; replicas with a fraction share one."""
    upscale_delay_s: NonNegative = 10.0
    """Seconds that high load must last before a replica is added."""
    downscale_delay_s: NonNegative = 300.0
    """Seconds that low load must last before a replica is removed."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "Replicas":
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


@config
class StudentServing:
    """Deployment that holds the student."""

    uri: Uri
    """Folder of a student, or the `promoted/NAME.json` of a folder of runs."""
    device: Device = "auto"
    """Device on which the student computes; auto takes CUDA where present."""
    precision: Precision = "float32"
    """Type in which the student computes; bfloat16 and float16 need CUDA."""
    compile: bool = False
    """Compile the student by `torch.compile`; needs CUDA, and lengthens the warm-up by minutes."""
    threads: Count = 1
    """Number of CPU threads of a pass."""
    batching: Batching = Batching()
    """Limits of a batch, in which requests of different callers share a pass of the student."""
    replicas: Replicas = Replicas()
    """Number of replicas of the student, and the resources each reserves."""
    max_ongoing: Count = 16
    """Largest number of images in a replica, in a batch or waiting for one. Each image of a request counts."""
    target_ongoing: Positive = 8.0
    """Number of images per replica that autoscaling aims at, at most `max_ongoing`."""

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
    """Deployment that turns clicks and boxes into masks, for people who correct labels."""

    sam: SamConfig
    """Segment Anything model that makes the masks."""
    cached_images: Count = 64
    """Number of image embeddings that each replica caches; the least recently used is dropped first."""
    replicas: Replicas = Replicas()
    """Number of replicas, and the resources each reserves."""
    max_ongoing: Count = 8
    """Largest number of requests in a replica."""


@config
class RequestLimits:
    """Limits of a request; one that exceeds them is rejected before it costs anything."""

    max_body_mb: Positive = 32.0
    """Largest body of a request, in MB."""
    max_megapixels: Positive = 50.0
    """Largest image in millions of pixels, read from its header before it is decoded."""
    max_held_megapixels: Positive = 200.0
    """Largest sum of the images that a replica of the ingress holds at a time, in millions of pixels of 3 bytes. A
    single request that exceeds it is answered with 413, several together with 429."""
    max_images: Count = 16
    """Largest number of images in a request."""
    max_instances: Count = 400
    """Largest number of instances per image that a caller may request."""
    timeout_s: Positive = 30.0
    """Seconds after which a request times out."""
    max_queued: Count = 64
    """Largest number of images that wait for a replica; beyond it the answer is 429 with Retry-After."""

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
    """Access without keys, for everyone. It must be requested explicitly, and works only on a loopback address unless
    `exposed` is true.
    """

    kind: Literal["off"]
    exposed: bool = False
    """Serve without keys on a network address too."""


@config
class KeyFile:
    """Access by keys, of which only hashes are stored (`segray key` makes one)."""

    kind: Literal["file"]
    path: str
    """Path of a file with one line per key, `NAME SHA256-HEX`. It is read again when it changes, so that keys can be
    rotated."""


Keys = Annotated[NoKeys | KeyFile, pydantic.Field(discriminator="kind")]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@config
class ServeConfig:
    """A job that serves a student: `segray serve CONFIG`."""

    job: Literal["serve"]
    """Kind of job that this file describes."""
    keys: Keys
    """Access to the service: by keys, or without."""
    student: StudentServing
    """Deployment of the student, which answers `POST /v1/segment`."""
    clicks: ClickServing | None = None
    """Deployment of the SAM that answers `POST /v1/masks`; "none" serves no such endpoint."""
    ingress: Replicas | None = Replicas()
    """Replicas that decode, check and encode images on CPUs of their own. With "none", each replica of the student does
    so itself, which is faster on a single machine."""
    ingress_max_ongoing: Count = 64
    """Largest number of requests in a replica that speaks HTTP."""
    limits: RequestLimits = RequestLimits()
    """Limits of a request; one that exceeds them is rejected before it costs anything."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 listens on the network. Inside a RayService the cluster's own setting applies."""
    port: Annotated[int, pydantic.Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 chooses a free one. Inside a RayService the cluster's own setting applies."""
    page: bool = True
    """Serve the page at /."""

    @property
    def copies(self) -> dict[str, Replicas]:
        """Return the replicas of every deployment, by the name of its table."""
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
