"""The stage that segments everything: images through SAM's automatic mask generation. Knows no Ray."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from segray.config.base import plain
from segray.config.label import LabelConfig
from segray.config.sources import identity
from segray.labels.labeler import Generator, Labeler
from segray.labels.tiles import TiledGenerator
from segray.sam.build import build
from segray.sam.generator import MaskGenerator

CODE_VERSION = 1
"""Raise when the same settings begin to give other masks; a golden hash in the tests notices."""


@dataclass(frozen=True, kw_only=True)
class SegmentEverything:
    """The label job's stage (see `labels.stage.Stage`)."""

    config: LabelConfig
    weights_hash: str
    name: str = "masks"

    @property
    def content(self) -> Mapping[str, Any]:
        """Settings that decide the masks; those of execution (device, batches, workers) are left out."""
        sam = {
            key: value for key, value in plain(self.config.sam).items() if key not in ("device", "compile", "weights")
        }
        return {
            "source": identity(self.config.source),
            "sam": sam | {"weights_hash": self.weights_hash},
            "masks": plain(self.config.masks),
            "tiles": plain(self.config.tiles) if self.config.tiles else None,
            "max_pixels": self.config.limits.max_pixels,
            "code_version": CODE_VERSION,
        }

    def build(self) -> Labeler:
        """Load SAM here, with the threads the config asks for."""
        workers = self.config.workers
        torch.set_num_threads(workers.torch_threads or max(1, int(workers.cpus)))
        generator: Generator = MaskGenerator(build(self.config.sam), self.config.masks, workers.points_per_batch)
        if self.config.tiles:
            generator = TiledGenerator(generator, self.config.tiles, self.config.masks.box_nms_thresh)
        return Labeler(
            generator,
            max_pixels=self.config.limits.max_pixels,
            images_per_batch=workers.images_per_batch,
            decode_threads=workers.decode_threads,
        )
