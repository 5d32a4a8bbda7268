"""The stage of the prompt job: a source's boxes and points to masks. Knows no Ray."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch

from segray.config.base import plain
from segray.formats.registry import open_source
from segray.formats.source import PromptedSource
from segray.images import decoding
from segray.labels.labeler import Labeler, Loaded
from segray.labels.prompting.config import PromptConfig
from segray.labels.stages.segment import sam_of
from segray.masks.object_prompts import ObjectPrompts, fit
from segray.nets.device import check_device
from segray.sam.build import describe
from segray.sam.prompted_masks import PromptedMasks
from segray.storage import files
from segray.store import StoreKind
from segray.store.rows import ImageRow

CODE_VERSION = 1
"""Raise when the same settings begin to give other masks."""
_HASH_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class PromptStage:
    """See `labels.stages.stage.Stage`."""

    config: PromptConfig
    weights_hash: str
    classes: tuple[str, ...]
    """The source's, by class id."""
    name: str = "prompted"

    @property
    def kind(self) -> StoreKind:
        """Return objects where the source has classes, else masks."""
        return StoreKind.OBJECTS if self.classes else StoreKind.MASKS

    @property
    def content(self) -> Mapping[str, Any]:
        """Settings that decide the masks. What the prompts are is part of each image's version (`images_of`)."""
        return {
            "source": self.config.source.name or files.absolute(self.config.source.uri),
            "sam": {**self.config.sam.content, "weights_hash": self.weights_hash},
            "prompts": plain(self.config.prompts),
            "classes": list(self.classes),
            **self.config.limits.content,
            "code_version": CODE_VERSION,
        }

    def build(self) -> Labeler:
        """Load SAM here, and open the source."""
        workers = self.config.workers
        torch.set_num_threads(workers.torch_threads)
        sam = sam_of(self.config.sam, self.weights_hash, gpus=workers.gpus)
        return Labeler.of_job(
            self.config,
            PromptedMasks(sam, self.config.prompts, workers.points_per_batch),
            load=_Load(self.config),
            check_device=check_device,
        )


class _Load:
    """An image's pixels, and the prompts that fit it."""

    def __init__(self, config: PromptConfig) -> None:
        self.config = config

    @cached_property
    def source(self) -> PromptedSource:
        return cast(PromptedSource, open_source(self.config.source))

    def __call__(self, row: ImageRow) -> Loaded:
        pixels, sha256 = decoding.load(row.uri, self.config.limits.max_pixels, self.config.limits.bands)
        prompts = self.source.prompts(row.image_id) or ObjectPrompts.build()
        fitting, left_out = fit(prompts, (pixels.shape[0], pixels.shape[1]))
        return Loaded((pixels, fitting), sha256, tuple(left_out))


def stage_of(config: PromptConfig) -> PromptStage:
    """Return the stage that a config describes.

    Raises:
        BackendError: the weights are missing or have a different architecture.
        SourceError: the source cannot be read.
    """
    return PromptStage(
        config=config,
        weights_hash=describe(config.sam).weights_hash,
        classes=open_source(config.source).classes,
    )


def images_of(source: PromptedSource) -> Iterator[ImageRow]:
    """Yield a source's images that have prompts; with other prompts, an image is another version.

    Raises:
        SourceError: the source cannot be read.
    """
    for row in source.rows():
        prompts = source.prompts(row.image_id)
        if prompts is not None:
            yield replace(row, version=f"{row.version} prompts:{_hash(prompts)}")


def _hash(prompts: ObjectPrompts) -> str:
    digest = hashlib.sha256()
    for array in (prompts.boxes_xyxy, prompts.points_xy, prompts.point_labels, prompts.scores, prompts.classes):
        digest.update(repr(array.shape).encode() + array.tobytes())
    digest.update(repr((prompts.ids, prompts.attributes, prompts.relative, prompts.size_hw)).encode())
    return digest.hexdigest()[:_HASH_DIGITS]
