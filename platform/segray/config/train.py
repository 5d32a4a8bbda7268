"""Settings of a training that no method changes: data, student, views, workers, intervals. Knows no method."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.registry import StudentConfig
from segray.config.students import Mask2Former
from segray.config.types import Count, CountOrZero, Device, NonNegative, Positive
from segray.config.uris import Uri
from segray.config.views import WeakView
from segray.formats.registry import SourceConfig


@config
class TrainingData:
    """What is learned from and what is measured on."""

    labeled: SourceConfig
    """Images with masks and classes; its class list is the student's."""
    unlabeled: SourceConfig | None = None
    """Images whose masks, if there are any, are not looked at in training. Papers: all training images."""
    validation: SourceConfig | None = None
    """Images with masks, for the evaluation during and after training."""
    hidden: SourceConfig | None = None
    """The unlabeled images' true masks, only to measure pseudo-labels with; labeled images among them are left out."""


@config
class TrainWorkers:
    """How training is spread. None of it changes a loss beyond rounding."""

    num_workers: CountOrZero = 1
    """Data-parallel workers; 0: in this process, without Ray."""
    min_workers: Count | None = None
    """Fewest workers to go on with when nodes go (elastic); none: always `num_workers`."""
    gpus: NonNegative = 0
    """GPUs per worker; 0 trains on CPUs with gloo, more with nccl."""
    cpus: Positive = 1
    """CPUs reserved per worker."""
    threads: Count | None = None
    """Threads torch computes with; none: as many as CPUs reserved."""
    num_loaders: CountOrZero = 0
    """Processes per worker that decode and crop ahead; 0: threads of its own."""
    max_failures: Annotated[int, pydantic.Field(ge=-1)] = 0
    """Restarts from the last checkpoint after a worker fails; -1 without end."""
    max_preemption_failures: Annotated[int, pydantic.Field(ge=-1)] = -1
    """The same for nodes that are taken away."""
    preemption_grace_s: NonNegative = 0
    """Seconds that the other workers may go on after a node is gone, to finish a checkpoint."""

    @pydantic.model_validator(mode="after")
    def _elastic_range(self) -> "TrainWorkers":
        if self.min_workers is not None and self.min_workers > self.num_workers:
            raise ValueError(f"min_workers {self.min_workers} is above num_workers {self.num_workers}")
        return self


@config
class Intervals:
    """How often what is done beside training; changes no loss."""

    log_every: Count = 20
    """Steps per line of metrics."""
    evaluate_every: CountOrZero = 0
    """Steps between evaluations on the validation images; 0: only at the end."""
    evaluate_images: Count | None = None
    """Images of an evaluation before the last one, and hidden ones on which a last one measures pseudo-labels, which
    costs a teacher's and a SAM's work on each; none: all."""
    checkpoint_every: Count = 500
    """Steps between checkpoints, a multiple of log_every; what a kill can cost at most."""

    @pydantic.model_validator(mode="after")
    def _lines_whole(self) -> "Intervals":
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every {self.checkpoint_every} must be a multiple of log_every {self.log_every}: a line of"
                " metrics is a mean over its steps, and a resumed run starts with a new line"
            )
        return self


@config
class Tracking:
    """Where metrics go beside the run's own metrics.jsonl."""

    wandb: Literal["off", "offline", "online"] = "offline"
    """offline writes files for `wandb sync` and needs no account."""
    project: str = "segray"
    """The project's name there."""


@config
class TrainSettings:
    """Everything of a train job but its method (`segray.methods.config.TrainConfig` adds that)."""

    data: TrainingData
    """What is learned from."""
    runs: Uri
    """The folder that holds runs; each of this job's is a folder in it, named by what decides its content."""
    student: StudentConfig = Mask2Former()
    """The network."""
    view: WeakView = WeakView()
    """What training sees of an image."""
    seed: int = 0
    """Random seed of everything drawn."""
    device: Device = "auto"
    """Where a worker computes; auto takes CUDA where it has reserved a GPU."""
    workers: TrainWorkers = TrainWorkers()
    """How training is spread."""
    intervals: Intervals = Intervals()
    """How often it is measured and saved."""
    tracking: Tracking = Tracking()
    """Where metrics go."""

    @pydantic.model_validator(mode="after")
    def _device_is_reserved(self) -> "TrainSettings":
        if self.workers.num_workers and self.device == "cuda" and not self.workers.gpus:
            raise ValueError('device "cuda" needs workers.gpus above 0: workers compute on what they reserve')
        if self.workers.num_workers and self.device == "cpu" and self.workers.gpus:
            raise ValueError(f'device "cpu" needs workers.gpus = 0, got {self.workers.gpus:g}: it would stand idle')
        return self
