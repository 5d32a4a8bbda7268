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
    """Rule by which masks correct a class map (docs/methods/sepl.md#vote)."""

    compat: bool = False
    """Use the published code's sequential rule, in which the lowest class id wins a mask, in place of the paper's, in
    which each mask takes the class that it overlaps most (docs/methods/sepl.md#published-rule)."""
    max_image_share: Share = 1.0
    """Largest mask, as a share of the image, that can be accepted for covering the region of a class; 1 sets no
    limit."""

    @pydantic.model_validator(mode="after")
    def _capless(self) -> "VoteRule":
        if self.compat and self.max_image_share < 1:
            raise ValueError("compat is the published rule, which has no max_image_share: leave one of them out")
        return self


@config
class Voting:
    """A vote that follows: its masks and its rule."""

    masks: StoreUri
    """Store of a label job that also holds the labeled images."""
    rule: VoteRule = VoteRule()
    """Rule by which the masks correct the class maps."""


@config
class VoteTunedThreshold(TunedThreshold):
    """A background threshold tuned for the vote that follows. The vote removes false positives, so a lower threshold
    works better.
    """

    voting: Voting | None = None
    """Vote after which the threshold gives the best mIoU; "none" chooses it for the class maps themselves."""


@config
class CamMaps:
    """Settings that turn class activations into a class map (docs/methods/sepl.md#class-activation-maps)."""

    scales: Annotated[tuple[Positive, ...], pydantic.Field(min_length=1)] = (
        1.0,
        1.5,
        2.0,
    )
    """Sizes at which the classifier sees an image, as multiples of `tagger.side`. Each is also mirrored."""
    threshold: Share | VoteTunedThreshold = 0.4
    """Score of the background, compared with activations whose maximum is 1 for each class: a number from 0 to 1, or a
    table that chooses it on labeled images."""


@config
class CamConfig(StageJob):
    """A job that makes class maps from image-level tags: it trains a classifier, whose activations are the maps.

    The classifier is trained first, by a Ray task with `workers.gpus` GPUs where that is above 0. Workers then make the
    maps.
    """

    job: Literal["cam"]
    """Kind of job that this file describes."""
    source: SourceConfig
    """Images to make class maps of."""
    tags: Tags
    """Image-level tags of the images."""
    tagger: TaggerConfig = TaggerConfig()
    """Classifier of the tags, and its training."""
    taggers: Uri
    """Folder of trained classifiers, each named by the settings that decide it. Workers on other machines must be able
    to read it."""
    maps: CamMaps = CamMaps()
    """Settings that turn the classifier's activations into class maps."""
    trains_first: ClassVar[bool] = True

    @property
    def images(self) -> SourceConfig:
        """Return the source."""
        return self.source


@config
class StoreMaps:
    """Class maps from a store, such as that of a cam job."""

    kind: Literal["store"] = "store"
    uri: StoreUri
    """Folder of the store."""


@config
class FolderMaps:
    """Class maps from a folder of files made elsewhere, one for each image, with the image's name and another ending.

    `.png`: class indices or grey values; 0 is the background and 255 unknown. `.npy`: the same as an array. `.npz`: an
    array of scores in [0, 1] for each class (`0`, `1`, ..., without the background); `tools.convert_cams` makes them of
    the files that TransCAM and AffinityNet save.
    """

    kind: Literal["folder"] = "folder"
    uri: InputUri
    """Folder that holds the files."""
    classes: Annotated[tuple[str, ...], pydantic.Field(min_length=2)]
    """Class names by index, background first."""
    ending: Literal[".png", ".npy", ".npz"] = ".png"
    """Ending of the files' names."""
    background: Share = 0.4
    """Score of the background where a file holds scores."""


@config
class VoteConfig(StageJob):
    """A job of SEPL: class maps made from image-level tags, corrected by SAM's masks."""

    job: Literal["vote"]
    """Kind of job that this file describes."""
    masks: StoreUri
    """Store of a label job, whose images get corrected labels."""
    maps: Annotated[StoreMaps | FolderMaps, pydantic.Field(discriminator="kind")]
    """Class maps to correct."""
    rule: VoteRule = VoteRule()
    """Rule by which the masks correct the class maps."""

    @property
    def images(self) -> StoreUri:
        """Return the store of masks."""
        return self.masks
