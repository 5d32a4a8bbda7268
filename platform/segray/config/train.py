"""Settings of a training that no method changes: data, student, views, workers, intervals. Knows no method."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config, refuse_without_effect
from segray.config.model_kinds import StudentConfig
from segray.config.students import Mask2Former, SemanticStudentConfig
from segray.config.types import (
    ApProtocol,
    Bands,
    Count,
    CountOrZero,
    Device,
    NetworkName,
    NonNegative,
    Positive,
    Share,
)
from segray.config.uris import Uri
from segray.config.views import WeakView
from segray.formats.registry import SourceConfig
from segray.tally import MAX_DAMAGED


@config
class TrainingData:
    """Images to learn from and to measure on."""

    labeled: SourceConfig
    """Images with masks and classes. Their class list becomes the student's."""
    keep_empty: bool = True
    """Learn from labeled images in which there is no object, and so that there is none. Mask2Former's code leaves them
    out."""
    bands: Bands | None = None
    """Bands, counted from 1, that are red, green and blue of images with more than four, as `limits.bands` of label
    jobs; "none" refuses images that do not say it."""
    unlabeled: SourceConfig | None = None
    """Images to learn from without labels; masks that their source may hold are ignored in training. The papers use all
    training images."""
    validation: SourceConfig | None = None
    """Images with masks, for evaluations during and after training; "none" trains without evaluation."""
    hidden: SourceConfig | None = None
    """True masks of the unlabeled images, used only to measure pseudo-labels. Labeled images among them are left
    out."""


@config
class TrainWorkers:
    """Data-parallel workers of a training, and the resources each reserves. No setting of this table changes a loss
    beyond rounding.
    """

    num_workers: CountOrZero = 1
    """Number of data-parallel workers; 0 trains in this process, without Ray."""
    min_workers: Count | None = None
    """Smallest number of workers with which an elastic training continues when nodes are lost; "none" always needs
    `num_workers`."""
    gpus: NonNegative = 0
    """GPUs reserved for each worker; 0 trains on CPUs with gloo, more than 0 with NCCL."""
    cpus: Positive = 1
    """CPUs reserved for each worker."""
    threads: Count | None = None
    """Number of threads that torch computes with in each worker; "none" takes the number of reserved CPUs."""
    num_loaders: CountOrZero = 0
    """Number of processes in each worker that decode and crop images ahead; 0 uses threads of the worker."""
    max_failures: Annotated[int, pydantic.Field(ge=-1)] = 0
    """Number of restarts from the last checkpoint after a worker fails; -1 sets no limit."""
    max_preemption_failures: Annotated[int, pydantic.Field(ge=-1)] = -1
    """Number of restarts from the last checkpoint after a node is preempted; -1 sets no limit."""
    preemption_grace_s: NonNegative = 0
    """Seconds that the other workers continue after a node is lost, to finish a checkpoint."""

    @pydantic.model_validator(mode="after")
    def _elastic_range(self) -> "TrainWorkers":
        if self.min_workers is not None and self.min_workers > self.num_workers:
            raise ValueError(f"min_workers {self.min_workers} is above num_workers {self.num_workers}")
        return self


@config
class Intervals:
    """Logging, evaluation and checkpoint intervals. They do not affect the loss."""

    log_every: Count = 20
    """Number of steps per line of metrics."""
    evaluate_every: CountOrZero = 0
    """Number of steps between evaluations on the validation images; 0 evaluates only at the end."""
    evaluate_images: Count | None = None
    """Number of validation images in evaluations before the last one, and of hidden images on which the last one
    measures pseudo-labels, each at the cost of a pass of the teacher and of the SAM. "none" takes all."""
    checkpoint_every: Count = 500
    """Number of steps between checkpoints, a multiple of `log_every`, and so the most steps that a killed run loses."""

    @pydantic.model_validator(mode="after")
    def _lines_whole(self) -> "Intervals":
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every {self.checkpoint_every} must be a multiple of log_every {self.log_every}: a line of"
                " metrics is a mean over its steps, and a resumed run starts with a new line"
            )
        return self


@config
class Evaluation:
    """Figures of evaluations, and the choice of the best step. They do not affect the loss."""

    protocol: ApProtocol = "coco"
    """Protocol of average precision that decides which step is best. cityscapes: AP by cityscapesScripts is measured
    beside COCO's, as `ap_cityscapes` (docs/methods/metrics.md#cityscapes-average-precision). It can only be given for
    students of instances."""
    best_by: NetworkName = "student"
    """Network whose figure decides which step is best, and which is promoted and exported by default: the student, or
    the teacher of a method that keeps one to its end (docs/methods/README.md#teachers)."""


@config
class Tracking:
    """Tracking of metrics beside the run's own `metrics.jsonl`."""

    wandb: Literal["off", "offline", "online"] = "offline"
    """Mode of Weights & Biases; offline writes files for `wandb sync` and needs no account."""
    project: str = "segray"
    """Name of the project in Weights & Biases."""


@config
class TrainSettings:
    """Settings of a train job that no method changes; `segray.methods.config.TrainConfig` adds the method."""

    data: TrainingData
    """Images to learn from and to measure on."""
    max_damaged: Share = MAX_DAMAGED
    """Largest share of damaged images, annotations or files (unreadable, unknown or invalid ones) with which the job
    works; beyond it the command stops with exit status 3. What is left out on purpose, such as crowds and images
    without a label, is never damage."""
    runs: Uri
    """Folder that holds runs. The job's own run is a folder in it, named by the settings that decide its content."""
    student: StudentConfig = Mask2Former()
    """Student to train."""
    view: WeakView = WeakView()
    """Geometry of the views of an image that training sees."""
    seed: int = 0
    """Random seed of the initial weights and of all training randomness."""
    device: Device = "auto"
    """Device on which a worker computes; auto takes CUDA where the worker has reserved a GPU."""
    workers: TrainWorkers = TrainWorkers()
    """Data-parallel workers, and the resources each reserves."""
    intervals: Intervals = Intervals()
    """Logging, evaluation and checkpoint intervals."""
    evaluation: Evaluation = Evaluation()
    """Figures of evaluations, and the choice of the best step."""
    tracking: Tracking = Tracking()
    """Tracking of metrics beside the run's own `metrics.jsonl`."""

    @pydantic.model_validator(mode="after")
    def _protocol_measures_objects(self) -> "TrainSettings":
        if isinstance(self.student, SemanticStudentConfig):
            refuse_without_effect(self.evaluation, ["protocol"], "it is of instances", "evaluation")
        return self

    @pydantic.model_validator(mode="after")
    def _device_is_reserved(self) -> "TrainSettings":
        if self.workers.num_workers and self.device == "cuda" and not self.workers.gpus:
            raise ValueError('device "cuda" needs workers.gpus above 0: workers compute on what they reserve')
        if self.workers.num_workers and self.device == "cpu" and self.workers.gpus:
            raise ValueError(f'device "cpu" needs workers.gpus = 0, got {self.workers.gpus:g}: it would stand idle')
        return self
