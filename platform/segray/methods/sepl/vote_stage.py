"""The stage that corrects class maps by the masks of an earlier store: SEPL (docs/methods/sepl.md). Knows no Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segray.config.base import plain
from segray.datasets.class_maps import read_map
from segray.errors import ImageError, LabelError
from segray.labels.labeler import Labeler
from segray.labels.stages.previous import PreviousRows
from segray.masks import semantic
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.methods.sepl.config import FolderMaps, StoreMaps, VoteConfig, VoteRule
from segray.methods.sepl.vote import vote
from segray.storage import files
from segray.store import Store, StoreKind
from segray.store.rows import ImageRow

CODE_VERSION = 1
"""Raise when the same settings begin to give other labels."""


@dataclass(frozen=True, kw_only=True)
class VoteStage:
    """See `labels.stages.stage.Stage`."""

    config: VoteConfig
    masks_fingerprint: str
    """Of the store of masks."""
    classes: tuple[str, ...]
    """Names by class id, background first."""
    maps_fingerprint: str
    """Of the store of maps; of a folder, where it lies."""
    name: str = "vote"
    kind: StoreKind = StoreKind.LABEL_MAPS

    @property
    def content(self) -> Mapping[str, Any]:
        """All that decides the labels; of maps in a folder, their place stands for what they say."""
        return {
            "masks": self.masks_fingerprint,
            "maps": self.maps_fingerprint,
            "background": getattr(self.config.maps, "background", None),
            "rule": plain(self.config.rule),
            "classes": list(self.classes),
            "code_version": CODE_VERSION,
        }

    def build(self) -> Labeler:
        """Map the stores."""
        return Labeler.of_job(
            self.config,
            Voter(self.config.rule),
            load=_Load(self.config, len(self.classes)),
        )


class Voter:
    """Masks and class maps to voted labels (see `labeler.Generator`)."""

    def __init__(self, rule: VoteRule) -> None:
        self._rule = rule

    def generate(self, images: Sequence[tuple[Instances, semantic.Map]]) -> list[Instances]:
        """One mask per class, background among them; its score is the share of it that the map said too."""
        return [self._voted(masks, classes) for masks, classes in images]

    def _voted(self, masks: Instances, classes: semantic.Map) -> Instances:
        voted = vote(masks, classes, self._rule)
        agreed = (voted == classes).astype(np.float32)
        return semantic.from_map(voted, provenance=Provenance.VOTE, scores=agreed)


class _Load:
    """An image's masks and class map. No pixel is read."""

    def __init__(self, config: VoteConfig, num_classes: int) -> None:
        self._masks = PreviousRows(config.masks)
        self._maps = config.maps
        self._store = PreviousRows(config.maps.uri) if isinstance(config.maps, StoreMaps) else None
        self._num_classes = num_classes

    def __call__(self, image: ImageRow) -> tuple[tuple[Instances, semantic.Map], str | None]:
        row, masks = self._masks.row(image), self._masks.masks(image)
        if isinstance(self._maps, FolderMaps):
            classes = read_map(
                self._maps.uri,
                image.image_id,
                self._num_classes,
                ending=self._maps.ending,
                background=self._maps.background,
            )
        else:
            assert self._store is not None
            classes = semantic.paint(self._store.masks(image))
        if classes.shape != masks.size_hw:
            raise ImageError("other-size", f"a class map of {classes.shape} pixels for masks of {masks.size_hw}")
        return (masks, classes), row.sha256


def stage_of(config: VoteConfig) -> VoteStage:
    """The stage that a config describes.

    Raises:
        StoreError: the store of masks or that of maps is not there.
        LabelError: it holds no classes.
    """
    if isinstance(config.maps, FolderMaps):
        place = files.absolute(config.maps.uri) + config.maps.ending
        classes = config.maps.classes
    else:
        manifest = Store.open(config.maps.uri).manifest
        place, classes = manifest.fingerprint, tuple(manifest.content.get("classes", ()))
        if manifest.kind is not StoreKind.LABEL_MAPS:
            raise LabelError(
                f"{config.maps.uri} holds no class maps (its classes are {list(classes)}): give a cam job's store, or a"
                " classify job's whose output is a map"
            )
    masks = Store.open(config.masks).manifest.fingerprint
    return VoteStage(config=config, masks_fingerprint=masks, classes=classes, maps_fingerprint=place)
