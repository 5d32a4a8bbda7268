"""The stage of the predict job: images through a trained student. Knows no Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from segray.config.base import plain
from segray.config.students import SemanticStudentConfig
from segray.config.types import Precision
from segray.errors import BackendError, ConfigError
from segray.labels.labeler import Labeler, Pixels
from segray.labels.predicting.config import PredictConfig
from segray.labels.predicting.sharpening import Sharpener
from segray.labels.stages.segment import sam_of
from segray.masks.instances import Instances
from segray.models.build import load_student, package_of, predicting, read_settings
from segray.models.package import read_card
from segray.models.student import Student
from segray.nets.batching import memory_errors
from segray.nets.device import autocast, check_device, choose_device
from segray.sam.build import describe
from segray.storage import files
from segray.store import StoreKind

CODE_VERSION = 1
"""Raise when the same settings begin to give other masks."""


@dataclass(frozen=True, kw_only=True)
class PredictStage:
    """See `labels.stages.stage.Stage`."""

    config: PredictConfig
    folder: str
    """The student's, whatever a promoted name stands for later."""
    card: Mapping[str, Any]
    """What the folder says of the student."""
    predict: Mapping[str, Any]
    """How it predicts."""
    sam_hash: str | None
    """Of the weights of the SAM that sharpens."""
    kind: StoreKind
    name: str = "predicted"

    @property
    def content(self) -> Mapping[str, Any]:
        """Settings that decide the masks. The weights' hash stands for the student, wherever it lies."""
        config, sharpen = self.config, self.config.sharpen
        return {
            "source": config.source.name or files.absolute(config.source.uri),
            "student": {
                "kind": self.card["student"]["kind"],
                "weights_sha256": self.card["weights_sha256"],
                "predict": dict(self.predict),
                "precision": config.student.precision,
            },
            "score_threshold": config.score_threshold if self.kind is StoreKind.OBJECTS else None,
            "sharpen": sharpen and {**plain(sharpen), "sam": {**sharpen.sam.content, "weights_hash": self.sam_hash}},
            "classes": list(self.card["classes"]),
            **config.limits.content,
            "code_version": CODE_VERSION,
        }

    def build(self) -> Labeler:
        """Load the student here, and SAM where it sharpens."""
        config, workers = self.config, self.config.workers
        torch.set_num_threads(workers.torch_threads)
        if read_card(self.folder)["weights_sha256"] != self.card["weights_sha256"]:
            raise BackendError(f"{self.folder}: another student than when the job was started: run the job again")
        # Ray does not hide GPUs from actors that reserve none.
        device = "cpu" if config.student.device == "auto" and not workers.gpus else config.student.device
        where = choose_device(device, config.student.precision, compiled=config.student.compile)
        student = load_student(self.folder, where)
        student.settings = predicting(student.settings, config.student)
        if config.student.compile:
            student.compile()
        sharpener = None
        if config.sharpen is not None:
            sam = sam_of(config.sharpen.sam, self.sam_hash or "", gpus=workers.gpus)
            sharpener = Sharpener(sam, config.sharpen, workers.points_per_batch)
        keep_from = config.score_threshold if self.kind is StoreKind.OBJECTS else 0.0
        masks = StudentMasks(student, config.student.precision, keep_from, sharpener)
        return Labeler.of_job(config, masks, check_device=check_device)


class StudentMasks:
    """Pixels to a student's masks (see `labeler.Generator`)."""

    def __init__(self, student: Student, precision: Precision, keep_from: float, sharpener: Sharpener | None) -> None:
        """Keep masks of scores from `keep_from` on; sharpen those where there is a sharpener."""
        self.student, self.precision = student, precision
        self.keep_from, self.sharpener = keep_from, sharpener
        self.device = next(student.parameters()).device

    @memory_errors()
    def generate(self, images: Sequence[Pixels]) -> list[Instances]:
        """Return the masks of each image, best first.

        Raises:
            MemoryError: so many images, or one so large, do not fit.
        """
        with autocast(self.device, self.precision):
            found = self.student.predict(images)
        kept = [one.filter(one.scores >= np.float32(self.keep_from)) for one in found]
        return kept if self.sharpener is None else self.sharpener.sharpen(images, kept)


def stage_of(config: PredictConfig) -> PredictStage:
    """Return the stage that a config describes; a promoted name is looked up here, once.

    Raises:
        BackendError: no student is there, it cannot be read, or the weights of SAM are missing.
        ConfigError: `student.predict` or `sharpen` is not of such a student.
        TrainError: nothing was promoted by that name.
    """
    folder = package_of(config.student)
    settings = predicting(read_settings(folder), config.student)
    is_semantic = isinstance(settings, SemanticStudentConfig)
    if is_semantic and config.sharpen is not None:
        raise ConfigError(f"sharpen: {folder} finds label maps, and SAM sharpens single objects: leave it out")
    return PredictStage(
        config=config,
        folder=folder,
        card=read_card(folder),
        predict=plain(settings.predict),
        sam_hash=describe(config.sharpen.sam).weights_hash if config.sharpen else None,
        kind=StoreKind.LABEL_MAPS if is_semantic else StoreKind.OBJECTS,
    )
