"""The label jobs that come after masks: classify them by CLIP, make class maps of image-level tags, vote.

Each leaves a store, as the label job does, and has its `source` or the store of masks whose images it goes through.
"""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.evidence import ClipModel, MatchRule, NanoClipConfig, Overlaps, TaggerConfig, Vocabulary, VoteRule
from segray.config.label import Cost, ImageLimits, LabelWorkers
from segray.config.sam import Unit
from segray.config.sources import CocoSource, Source, StoreUri, Uri, VocSource
from segray.config.tags import Tags

Grid = Annotated[tuple[Unit, ...], pydantic.Field(min_length=1)]
_TWENTIETHS = tuple(round(step / 20, 2) for step in range(1, 20))


@config
class TunedThreshold:
    """A threshold chosen where it gives the best mIoU on labeled images, and on no others."""

    labeled: Annotated[CocoSource | VocSource, pydantic.Field(discriminator="kind")]
    """Images with masks or class maps; their classes are matched by name."""
    candidates: Grid = _TWENTIETHS
    """What to choose from."""


Threshold = Unit | TunedThreshold
"""A number, or a table that says on which images to choose it."""


@config
class StageConfig:
    """What the jobs of this module have in common."""

    stores: Uri
    """The folder that holds stores; this job's is a folder in it, named by what decides its content."""
    limits: ImageLimits = ImageLimits()
    """Which images are refused."""
    workers: LabelWorkers = LabelWorkers()
    """How the work is spread; `points_per_batch` plays no part."""
    cost: Cost = Cost()
    """What it may cost."""
    sample: Annotated[int, pydantic.Field(ge=0)] = 0
    """Do only this many images, drawn at random, and forecast the rest; 0 does all."""
    seed: int = 0
    """Of the sample."""
    retry_refused: bool = False
    """Try images again that the store holds as refused."""


@config
class ClassifyConfig(StageConfig):
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
    """Which of overlapping masks a map shows: the smallest, or that which SAM thinks best of (7.4 A)."""


@config
class Voting:
    """A vote that comes after: which masks, by what rule."""

    masks: StoreUri
    """A label job's store; it holds the labeled images too."""
    rule: VoteRule = VoteRule()
    """How they vote."""


@config
class VoteTunedThreshold(TunedThreshold):
    """A threshold for maps that a vote may follow: masks take away what is too much, so that lower ones are better."""

    voting: Voting | None = None
    """Choose what is best after this vote; none: what is best as it is."""


@config
class CamMaps:
    """How class activations become a class map (methods.md 8.3)."""

    scales: Annotated[tuple[Annotated[float, pydantic.Field(gt=0)], ...], pydantic.Field(min_length=1)] = (
        1.0,
        1.5,
        2.0,
    )
    """Sizes at which the classifier looks, as multiples of the tagger's side; each also mirrored."""
    threshold: Unit | VoteTunedThreshold = 0.4
    """The background's score, to compare with activations of which each class's greatest is 1."""


@config
class CamConfig(StageConfig):
    """Class maps from image-level tags: a classifier is trained on them, its activations are the maps.

    The classifier is trained first, where `workers.gpus` is above 0 by a task with as many GPUs; then actors make maps.
    """

    job: Literal["cam"]
    """What kind of job this file describes."""
    source: Source
    """The images."""
    tags: Tags
    """What is known to be in them."""
    tagger: TaggerConfig = TaggerConfig()
    """The classifier and its training."""
    taggers: Uri
    """Local folder of trained classifiers, each named by what decides it; actors elsewhere must reach it too."""
    maps: CamMaps = CamMaps()
    """How its activations become maps."""


@config
class StoreMaps:
    """Class maps from a store, such as a cam job's."""

    kind: Literal["store"] = "store"
    uri: StoreUri
    """The store."""


@config
class FolderMaps:
    """Class maps that were made elsewhere: a file per image, of the image's name with another ending.

    `.png`: indices or grey values, 0 background, 255 unknown. `.npy`: the same as an array, or what TransCAM and
    AffinityNet save: a dict from class (from 0, without background) to its scores in [0, 1].
    """

    kind: Literal["folder"] = "folder"
    uri: Uri
    """The folder."""
    classes: Annotated[tuple[str, ...], pydantic.Field(min_length=2)]
    """Class names by index, background first."""
    ending: Literal[".png", ".npy"] = ".png"
    """Of the files' names."""
    background: Unit = 0.4
    """Score of the background where a file holds scores."""


@config
class VoteConfig(StageConfig):
    """SEPL: class maps made of image-level labels, put right by SAM's masks."""

    job: Literal["vote"]
    """What kind of job this file describes."""
    masks: StoreUri
    """A label job's store; its images are gone through."""
    maps: Annotated[StoreMaps | FolderMaps, pydantic.Field(discriminator="kind")]
    """The class maps."""
    rule: VoteRule = VoteRule()
    """How they become voted labels."""
