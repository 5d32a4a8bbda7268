"""The stage that segments everything: images through SAM's automatic mask generation. Knows no Ray."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from segray.config.base import plain
from segray.config.label import LabelConfig
from segray.config.model_kinds import SamConfig
from segray.errors import BackendError
from segray.labels.labeler import Generator, Labeler
from segray.labels.stages.tiled import TiledGenerator
from segray.nets.device import check_device
from segray.sam.build import build, describe
from segray.sam.mask_generation.generator import MaskGenerator
from segray.sam.protocol import Sam
from segray.storage import files
from segray.store import StoreKind

CODE_VERSION = 1
"""Raise when the same settings begin to give other masks; a golden hash in the tests notices."""


@dataclass(frozen=True, kw_only=True)
class SegmentEverything:
    """The label job's stage (see `labels.stages.stage.Stage`)."""

    config: LabelConfig
    weights_hash: str
    name: str = "masks"
    kind: StoreKind = StoreKind.MASKS

    @property
    def content(self) -> Mapping[str, Any]:
        """Settings that decide the masks; those of execution (device, batches, workers) are left out."""
        return {
            "source": self.config.source.name or files.absolute(self.config.source.uri),
            "sam": {**self.config.sam.content, "weights_hash": self.weights_hash},
            "masks": plain(self.config.masks),
            "tiles": plain(self.config.tiles) if self.config.tiles else None,
            **self.config.limits.content,
            "code_version": CODE_VERSION,
        }

    def build(self) -> Labeler:
        """Load SAM here, with the threads the config asks for."""
        workers = self.config.workers
        torch.set_num_threads(workers.torch_threads)
        sam = sam_of(self.config.sam, self.weights_hash, gpus=workers.gpus)
        generator: Generator = MaskGenerator(sam, self.config.masks, workers.points_per_batch)
        if self.config.tiles:
            generator = TiledGenerator(generator, self.config.tiles, self.config.masks.box_nms_thresh)
        return Labeler.of_job(
            self.config,
            generator,
            check_device=check_device,
        )


def sam_of(settings: SamConfig, weights_hash: str, *, gpus: float) -> Sam:
    """Build the model that the driver saw, on the device that the actor was given.

    Raises:
        BackendError: the weights are missing here, or others than the driver saw.
    """
    if settings.device == "auto" and not gpus:
        # Ray does not hide GPUs from actors that reserve none.
        settings = replace(settings, device="cpu")
    sam = build(settings)
    if sam.weights_hash != weights_hash:
        raise BackendError(
            f"{sam.name}: other weights on this node than where the job was started ({sam.weights_hash[:12]}, "
            f"{weights_hash[:12]}): give one URI or revision that all nodes reach"
        )
    return sam


def stage_of(config: LabelConfig) -> SegmentEverything:
    """Return the stage that a config describes.

    Raises:
        BackendError: the weights are missing or have a different architecture.
    """
    return SegmentEverything(config=config, weights_hash=describe(config.sam).weights_hash)
