"""Settings that every label job shares, and two jobs: label (masks by SAM) and classify (classes by CLIP)."""

from typing import Annotated, Any, ClassVar, Literal, Protocol

import pydantic

from segray.config.base import config, refuse_without_effect
from segray.config.evidence import ClipModel, MatchRule, NanoClipConfig, Overlaps, Vocabulary
from segray.config.model_kinds import SamConfig
from segray.config.sam import MaskGeneration, OriginalSamConfig, Tiles
from segray.config.types import Bands, Count, CountOrZero, Device, NonNegative, Positive, Precision, Share
from segray.config.uris import StoreUri, Uri
from segray.formats.coco import CocoSource
from segray.formats.registry import SourceConfig
from segray.formats.voc import VocSource
from segray.tally import MAX_DAMAGED


@config
class ImageLimits:
    """Limits beyond which an image is refused, and how to read images that have more than colours."""

    max_pixels: Count = 100_000_000
    """Largest image in pixels (width times height); larger ones are refused before they are decoded. Pillow warns of
    decompression bombs from 89 million pixels."""
    bands: Bands | None = None
    """Bands, counted from 1, that are red, green and blue of images with more than four, for example [4, 3, 2]; "none"
    takes the first three where a file says that they are RGB, and refuses it where it does not."""

    @property
    def content(self) -> dict[str, Any]:
        """Return the settings that decide what is labeled, for a store's name."""
        return {"max_pixels": self.max_pixels} | ({} if self.bands is None else {"bands": list(self.bands)})


@config
class LabelWorkers:
    """Workers that label, and the resources each reserves. No setting of this table changes a mask."""

    num_workers: CountOrZero | None = None
    """Number of workers in a pool of fixed size; 0 labels in this process, without Ray. With "none" the pool grows with
    the cluster from `min_workers` to `max_workers`."""
    min_workers: Count = 1
    """Smallest number of workers in a growing pool."""
    max_workers: Count = 1
    """Largest number of workers in a growing pool."""
    gpus: NonNegative = 0
    """GPUs reserved for each worker; 0 computes on the CPU, 0.5 puts two workers on one GPU."""
    cpus: Positive = 1
    """CPUs reserved for each worker."""
    memory_gib: Positive | None = None
    """Memory reserved for each worker, in GiB; "none" reserves no memory."""
    threads: Count | None = None
    """Number of threads that torch computes with in each worker. With "none" it is the number of reserved CPUs, at
    least 1 (Ray's own default is 1)."""
    decode_threads: Count = 2
    """Number of threads in each worker that decode images ahead of the model."""
    images_per_batch: Count = 4
    """Number of images in one pass of the image encoder."""
    images_per_part: Count = 32
    """Number of images in one committed part of the store, and so the most work that a killed worker loses."""
    wait_for_cluster_s: NonNegative = 0
    """Seconds that the job waits for cluster capacity without progress before it fails; 0 waits without limit (Ray's
    own default is 30 minutes)."""

    @pydantic.model_validator(mode="after")
    def _pool_possible(self) -> "LabelWorkers":
        if self.num_workers is not None:
            refuse_without_effect(
                self, ["min_workers", "max_workers"], f"num_workers = {self.num_workers} fixes the pool"
            )
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is above max_workers {self.max_workers}")
        return self

    @property
    def torch_threads(self) -> int:
        """Return the number of threads that torch computes with in each worker."""
        return self.threads or max(1, int(self.cpus))

    @property
    def most_workers(self) -> int:
        """Return the largest number of workers that the pool can have."""
        return 1 if self.in_process else self.num_workers or self.max_workers

    @property
    def in_process(self) -> bool:
        """Return whether the job labels in this process, without Ray."""
        return self.num_workers == 0


@config
class SamWorkers(LabelWorkers):
    """Workers of a label job, each of which holds a SAM."""

    points_per_batch: Count | None = None
    """Number of prompts in one call of the mask decoder. With "none" it is as many as fit the cache on CPUs, and 256 on
    CUDA. Halved when memory runs out."""


@config
class Cost:
    """Price of labeling, and the budget at which the job stops."""

    per_gpu_hour: NonNegative | None = None
    """Price of one GPU-hour, or of one worker-hour where `workers.gpus` is 0, in any currency."""
    budget: NonNegative | None = None
    """Largest amount to spend, in the currency of `per_gpu_hour`. The job stops cleanly when it has spent this much,
    and keeps everything committed so far."""

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
    """Folder that holds stores. The job's own store is a folder in it, named by the settings that decide its
    content."""
    limits: ImageLimits = ImageLimits()
    """Limits beyond which images are refused, and how to read images that have more than colours."""
    max_damaged: Share = MAX_DAMAGED
    """Largest share of damaged files or images (unreadable, unknown or invalid ones) with which the job works. The
    command stops with exit status 3 before it labels an image where more of the files are damaged, or surely more of
    all images by a random sample of 64; and it ends with exit status 3 where more of the store's images were refused,
    also after a run with `sample`."""
    workers: LabelWorkers = LabelWorkers()
    """Workers that label, and the resources each reserves."""
    cost: Cost = Cost()
    """Price of labeling, and the budget at which the job stops."""
    sample: CountOrZero = 0
    """Number of images to draw at random and label, with a forecast for the rest; 0 labels all images."""
    seed: int = 0
    """Random seed used to draw the sample."""
    retry_refused: bool = False
    """Label images again that the store records as refused, for example after an outage or once files of the same
    version were repaired."""
    trains_first: ClassVar[bool] = False
    """Whether a model is trained before the first image: by a Ray task with a worker's GPUs, else by the command."""

    @pydantic.model_validator(mode="after")
    def _seed_is_drawn_from(self) -> "StageJob":
        if not self.sample:
            refuse_without_effect(self, ["seed"], "sample = 0 draws no images")
        return self

    @property
    def images(self) -> SourceConfig | StoreUri:
        """Return the source whose images the job labels, or the URI of the earlier store that holds them."""
        raise NotImplementedError


@config
class LabelConfig(StageJob):
    """A job that labels images with a SAM: masks without classes."""

    job: Literal["label"]
    """Kind of job that this file describes."""
    source: SourceConfig
    """Images to label."""
    sam: SamConfig = OriginalSamConfig()
    """Segment Anything model that makes the masks."""
    workers: SamWorkers = SamWorkers()
    """Workers that label, and the resources each reserves."""
    masks: MaskGeneration = MaskGeneration()
    """Settings of automatic mask generation."""
    tiles: Tiles | None = None
    """Tiled labeling of large images; "none" labels every image whole."""

    @property
    def images(self) -> SourceConfig:
        """Return the source."""
        return self.source

    @pydantic.model_validator(mode="after")
    def _gpus_reserved(self) -> "LabelConfig":
        require_gpus(self.sam, self.workers)
        return self


class RunsOnDevice(Protocol):
    """Settings of a model that may need a GPU."""

    @property
    def device(self) -> Device:
        """Device on which the model computes."""

    @property
    def precision(self) -> Precision:
        """Type in which it computes."""

    @property
    def compile(self) -> bool:
        """Whether it is compiled."""


def require_gpus(model: RunsOnDevice, workers: LabelWorkers, table: str = "sam") -> None:
    """See that workers reserve a GPU where the settings of a model, a config's `table`, need one.

    Raises:
        ValueError: they reserve none.
    """
    wants = ["compile"] if model.compile else []
    wants += ["device"] if model.device == "cuda" else []
    wants += ["precision"] if model.precision != "float32" else []
    if wants and not workers.gpus:
        keys = " and ".join(f"{table}.{key}" for key in wants)
        raise ValueError(f"{keys} need a GPU: set workers.gpus, the share one actor gets")


Grid = Annotated[tuple[Share, ...], pydantic.Field(min_length=1)]
_TWENTIETHS = tuple(round(step / 20, 2) for step in range(1, 20))


@config
class TunedThreshold:
    """A threshold chosen for the best mIoU on labeled images, and on no others."""

    labeled: Annotated[CocoSource | VocSource, pydantic.Field(discriminator="kind")]
    """Images with masks or class maps. Their classes are matched by name."""
    candidates: Grid = _TWENTIETHS
    """Thresholds to choose from, each from 0 to 1. The default is every twentieth."""


Threshold = Share | TunedThreshold
"""A number, or a table that says on which images to choose it."""


@config
class ClassifyConfig(StageJob):
    """A job that gives the masks of a store classes by CLIP: zero-shot labels, from class names alone."""

    job: Literal["classify"]
    """Kind of job that this file describes."""
    masks: StoreUri
    """Store of a label job, whose images and masks get classes."""
    clip: ClipModel = NanoClipConfig()
    """CLIP model that compares masks with class names."""
    vocabulary: Vocabulary
    """Names and prompts of the classes."""
    match: MatchRule = MatchRule()
    """Rule that gives a mask its class."""
    threshold: Threshold = 0.5
    """Masks whose similarity to every class is below this become background: a number from 0 to 1, or a table that
    chooses it on labeled images."""
    output: Literal["map", "objects"] = "map"
    """Form of the labels. map: a label map without overlaps, whose first class is the background and whose uncovered
    pixels are unknown. objects: the masks that have a class, which may overlap."""
    overlaps: Overlaps = "smallest"
    """Mask that a label map shows where several overlap: the smallest, or the one of best predicted IoU
    (docs/methods/zero-shot.md#overlaps). It can only be given with output = "map"."""

    @pydantic.model_validator(mode="after")
    def _overlaps_are_shown(self) -> "ClassifyConfig":
        if self.output == "objects":
            refuse_without_effect(self, ["overlaps"], 'output = "objects" keeps all masks that overlap')
        return self

    @property
    def images(self) -> StoreUri:
        """Return the store of masks."""
        return self.masks
