"""The classify job: masks of an earlier store get classes by CLIP."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.evidence import ClipModel, MatchRule, NanoClipConfig, Overlaps, Vocabulary
from segray.config.label import StageJob
from segray.config.types import Share
from segray.config.uris import StoreUri
from segray.formats.coco import CocoSource
from segray.formats.voc import VocSource

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
