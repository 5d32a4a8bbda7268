"""Settings that every label job shares, and two jobs: label (masks by SAM) and classify (classes by CLIP)."""

from typing import Annotated, ClassVar, Literal

import pydantic

from segray.config.base import config
from segray.config.evidence import ClipModel, MatchRule, NanoClipConfig, Overlaps, Vocabulary
from segray.config.registry import SamConfig
from segray.config.sam import MaskGeneration, OriginalSamConfig, Tiles
from segray.config.types import Count, CountOrZero, NonNegative, Positive, Share
from segray.config.uris import StoreUri, Uri
from segray.formats.coco import CocoSource
from segray.formats.registry import SourceConfig
from segray.formats.voc import VocSource


@config
class ImageLimits:
    """Which images are refused, and when that is too many."""

    max_pixels: Count = 100_000_000
    """Images with more pixels are refused before they are decoded (Pillow warns of bombs from 89 M)."""
    max_refused: Share = 0.05
    """Share of refused images above which the job's exit status says so."""


@config
class LabelWorkers:
    """How the work is spread. None of it changes a mask."""

    num_workers: CountOrZero | None = None
    """Number of workers in a fixed pool; 0: in this process, without Ray; none: min_workers to max_workers, growing
    with the cluster."""
    min_workers: Count = 1
    """Smallest pool."""
    max_workers: Count = 1
    """Largest pool."""
    gpus: NonNegative = 0
    """GPU share of one actor, 0 for CPU; 0.5 puts two on a GPU."""
    cpus: Positive = 1
    """CPUs reserved for one actor."""
    memory_gib: Positive | None = None
    """Memory reserved for one actor in GiB; None reserves none."""
    threads: Count | None = None
    """Threads torch computes with; None: as many as CPUs reserved, at least 1 (Ray itself would leave 1)."""
    decode_threads: Count = 2
    """Threads that decode images ahead of the model, in the same actor."""
    images_per_batch: Count = 4
    """Images through the encoder at once."""
    images_per_part: Count = 32
    """Images to a committed part of the store; what a kill can cost at most per actor."""
    wait_for_cluster_s: NonNegative = 0
    """Seconds the job may wait without progress for cluster capacity; 0: forever (Ray's own default is 30 minutes)."""

    @pydantic.model_validator(mode="after")
    def _pool_possible(self) -> "LabelWorkers":
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is above max_workers {self.max_workers}")
        return self

    @property
    def most_workers(self) -> int:
        """The most actors the pool can have."""
        return 1 if self.in_process else self.num_workers or self.max_workers

    @property
    def in_process(self) -> bool:
        """Whether the job labels in this process, without Ray."""
        return self.num_workers == 0


@config
class SamWorkers(LabelWorkers):
    """The workers of a label job, each of which holds a SAM."""

    points_per_batch: Count | None = None
    """Prompts per call of the mask decoder; none: as many as fit the cache on CPUs, 256 on CUDA. Halved when memory
    runs out."""


@config
class Cost:
    """What labeling may cost."""

    per_gpu_hour: NonNegative | None = None
    """Price of one GPU-hour (of one actor-hour where gpus = 0), in any currency."""
    budget: NonNegative | None = None
    """The job stops cleanly when it has spent this much; what is committed stays."""

    @pydantic.model_validator(mode="after")
    def _priced(self) -> "Cost":
        if self.budget is not None and not self.per_gpu_hour:
            raise ValueError(f"budget {self.budget} needs cost.per_gpu_hour")
        return self


@config
class StageJob:
    """A job that runs one stage over images and leaves a store: `segray label CONFIG`."""

    job: str
    """Kind of job that this file describes."""
    stores: Uri
    """The folder that holds stores; this job's is a folder in it, named by what decides its content."""
    limits: ImageLimits = ImageLimits()
    """Which images are refused."""
    workers: LabelWorkers = LabelWorkers()
    """How the work is spread; only the label job uses `points_per_batch`."""
    cost: Cost = Cost()
    """What it may cost."""
    sample: CountOrZero = 0
    """Label only this many images, drawn at random, and forecast the rest; 0 labels all."""
    seed: int = 0
    """Random seed used to draw the sample."""
    retry_refused: bool = False
    """Try images again that the store holds as refused, after an outage or with mended files of the same version."""
    trains_first: ClassVar[bool] = False
    """Whether a model is trained before the first image: by a Ray task with a worker's GPUs, else by the command."""

    @property
    def images(self) -> SourceConfig | StoreUri:
        """The source whose images the job labels, or the URI of the earlier store that holds them."""
        raise NotImplementedError


@config
class LabelConfig(StageJob):
    """Label images with a SAM: masks without classes."""

    job: Literal["label"]
    """What kind of job this file describes."""
    source: SourceConfig
    """Where the images are."""
    sam: SamConfig = OriginalSamConfig()
    """The model."""
    workers: SamWorkers = SamWorkers()
    """Workers that label, and what each reserves."""
    masks: MaskGeneration = MaskGeneration()
    """How it generates masks."""
    tiles: Tiles | None = None
    """Tiled mode for large images; none: every image whole."""

    @property
    def images(self) -> SourceConfig:
        """The source."""
        return self.source

    @pydantic.model_validator(mode="after")
    def _gpus_reserved(self) -> "LabelConfig":
        wants = ["compile"] if self.sam.compile else []
        wants += ["device"] if self.sam.device == "cuda" else []
        wants += ["precision"] if self.sam.precision != "float32" else []
        if wants and not self.workers.gpus:
            raise ValueError(f"sam.{' and sam.'.join(wants)} need a GPU: set workers.gpus, the share one actor gets")
        return self


Grid = Annotated[tuple[Share, ...], pydantic.Field(min_length=1)]
_TWENTIETHS = tuple(round(step / 20, 2) for step in range(1, 20))


@config
class TunedThreshold:
    """A threshold chosen where it gives the best mIoU on labeled images, and on no others."""

    labeled: Annotated[CocoSource | VocSource, pydantic.Field(discriminator="kind")]
    """Images with masks or class maps; their classes are matched by name."""
    candidates: Grid = _TWENTIETHS
    """What to choose from."""


Threshold = Share | TunedThreshold
"""A number, or a table that says on which images to choose it."""


@config
class ClassifyConfig(StageJob):
    """Give the masks of a store classes by CLIP: zero-shot labels, with nothing but class names."""

    job: Literal["classify"]
    """What kind of job this file describes."""
    masks: StoreUri
    """A label job's store; its images are gone through."""
    clip: ClipModel = NanoClipConfig()
    """What compares regions with words."""
    vocabulary: Vocabulary
    """What classes are called."""
    match: MatchRule = MatchRule()
    """When a mask is of a class."""
    threshold: Threshold = 0.5
    """A mask that is less near than this to every class is background."""
    output: Literal["map", "objects"] = "map"
    """map: masks that do not overlap, background the first class; what none covers is unknown. objects: the masks that
    are of a class, overlapping as they may."""
    overlaps: Overlaps = "smallest"
    """The mask that a map shows where several overlap: the smallest, or the one of best predicted IoU
    (docs/methods/zero-shot.md#overlaps)."""

    @property
    def images(self) -> StoreUri:
        """The store of masks."""
        return self.masks
