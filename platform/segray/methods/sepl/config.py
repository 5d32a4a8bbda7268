"""SEPL's own settings: how tags become class maps, and how masks vote on them. Imports no torch."""

from typing import Annotated, ClassVar, Literal

import pydantic

from segray.config.base import config
from segray.config.evidence import TaggerConfig
from segray.config.label import StageJob, TunedThreshold
from segray.config.tags import Tags
from segray.config.types import Positive, Share
from segray.config.uris import InputUri, StoreUri, Uri
from segray.formats.registry import SourceConfig


@config
class VoteRule:
    """The rule by which masks correct a class map (docs/methods/sepl.md#vote)."""

    compat: bool = False
    """The published code's sequential rule, in which the lowest class id wins a mask; else each mask stands for the
    class it overlaps most, as the paper says."""
    max_image_share: Share = 1.0
    """Largest share of the image that a mask may have to be taken because it covers a class's region; 1: any."""

    @pydantic.model_validator(mode="after")
    def _capless(self) -> "VoteRule":
        if self.compat and self.max_image_share < 1:
            raise ValueError("compat is the published rule, which has no max_image_share: leave one of them out")
        return self


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
    """Settings that turn class activations into a class map (docs/methods/sepl.md#class-activation-maps)."""

    scales: Annotated[tuple[Positive, ...], pydantic.Field(min_length=1)] = (
        1.0,
        1.5,
        2.0,
    )
    """Sizes at which the classifier looks, as multiples of the tagger's side; each also mirrored."""
    threshold: Share | VoteTunedThreshold = 0.4
    """The background's score, to compare with activations of which each class's greatest is 1."""


@config
class CamConfig(StageJob):
    """Class maps from image-level tags: a classifier is trained on them, its activations are the maps.

    The classifier is trained first, where `workers.gpus` is above 0 by a task with as many GPUs; then actors make maps.
    """

    job: Literal["cam"]
    """What kind of job this file describes."""
    source: SourceConfig
    """The images."""
    tags: Tags
    """What is known to be in them."""
    tagger: TaggerConfig = TaggerConfig()
    """The classifier and its training."""
    taggers: Uri
    """Local folder of trained classifiers, each named by what decides it; actors elsewhere must reach it too."""
    maps: CamMaps = CamMaps()
    """How its activations become maps."""
    trains_first: ClassVar[bool] = True

    @property
    def images(self) -> SourceConfig:
        """The source."""
        return self.source


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
    uri: InputUri
    """The folder."""
    classes: Annotated[tuple[str, ...], pydantic.Field(min_length=2)]
    """Class names by index, background first."""
    ending: Literal[".png", ".npy"] = ".png"
    """Of the files' names."""
    background: Share = 0.4
    """Score of the background where a file holds scores."""


@config
class VoteConfig(StageJob):
    """SEPL: class maps made of image-level labels, put right by SAM's masks."""

    job: Literal["vote"]
    """What kind of job this file describes."""
    masks: StoreUri
    """A label job's store; its images are gone through."""
    maps: Annotated[StoreMaps | FolderMaps, pydantic.Field(discriminator="kind")]
    """The class maps."""
    rule: VoteRule = VoteRule()
    """How they become voted labels."""

    @property
    def images(self) -> StoreUri:
        """The store of masks."""
        return self.masks
