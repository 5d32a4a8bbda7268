"""The student behind an endpoint: loaded, placed and warm before it answers, changed for another without a gap.

Knows packages, promoted names and torch; nothing of requests, batches or Ray.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from segray.config.serve import StudentServing
from segray.errors import SegrayError
from segray.masks.instances import Instances
from segray.models.build import load_student
from segray.models.package import read_card
from segray.models.promotion import resolve_student
from segray.models.semantic import SemanticStudent
from segray.models.student import Pixels, Student
from segray.nets.device import autocast, choose_device
from segray.serving.backend import ModelInfo
from segray.storage import files

_LOG: Final = logging.getLogger(__name__)
_USUAL_SIDE: Final = 512
"""Of images that a student takes as they are."""


class RefusedError(SegrayError):
    """A student that is not taken; what served before goes on. The message names no path: callers may read it."""


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    student: Student
    info: ModelInfo


class ServedStudent:
    """One student at a time. `answer` and `swap` may run in different threads."""

    def __init__(self, config: StudentServing, uri: str | None = None) -> None:
        """Load and warm the student at `uri`, the config's own if none is given.

        Raises:
            RefusedError: it cannot be loaded, or its output is no numbers.
            BackendError: the device or type that the config asks for is not there.
        """
        self._config = config
        self._device = choose_device(config.device, config.precision, compiled=config.compile)
        self._loaded = self._load(uri or config.uri)

    def answer(self, images: Sequence[Pixels]) -> tuple[list[Instances], ModelInfo]:
        """All instances of each image, best first, whatever their score (see `Student.predict`), and which student it
        was.
        """
        loaded = self._loaded
        with autocast(self._device, self._config.precision):
            return loaded.student.predict(images), loaded.info

    def info(self) -> ModelInfo:
        """What answers now."""
        return self._loaded.info

    def swap(self, uri: str) -> None:
        """Let the student at `uri` answer from now on; batches that are under way end with the one before.

        Both are in memory until the last of those has ended.

        Raises:
            RefusedError: it cannot be loaded, has another task or other classes, or its output is no numbers; then
                nothing has changed.
        """
        loaded = self._load(uri)
        if loaded.info.task != self._loaded.info.task:
            raise RefusedError(
                f"the new student's task is {loaded.info.task}, that of the one that serves is"
                f" {self._loaded.info.task}: start another endpoint for it"
            )
        if loaded.info.classes != self._loaded.info.classes:
            raise RefusedError(
                f"the new student has the classes {', '.join(loaded.info.classes)}, the one that serves has"
                f" {', '.join(self._loaded.info.classes)}: start another endpoint for it"
            )
        self._loaded = loaded

    def _load(self, uri: str) -> _Loaded:
        """A student ready to answer."""
        try:
            folder = resolve_student(uri)
            card = read_card(folder)
            student = load_student(folder, self._device)
        except SegrayError as error:
            _LOG.warning("student %s refused: %s", uri, error)
            raise RefusedError("the new student cannot be loaded; the log of the copy that tried says why") from error
        self._check(student, uri)
        if self._config.compile:
            student.compile()
        self._warm(student)
        info = ModelInfo(
            kind="student",
            name=_name(uri, card["student"]["kind"]),
            weights_sha256=card["weights_sha256"],
            classes=student.classes,
            task="semantic" if isinstance(student, SemanticStudent) else "instances",
            device=self._device.type,
            loaded=datetime.now(UTC).isoformat(timespec="microseconds"),
            training=card.get("info", {}),
        )
        return _Loaded(student=student, info=info)

    def _check(self, student: Student, uri: str) -> None:
        """See that what it says of a blank image are numbers."""
        finite: list[bool] = []
        hook = student.register_forward_hook(lambda _student, _images, output: finite.append(_is_finite(output)))
        with autocast(self._device, self._config.precision):
            student.predict([_blank(student)])
        hook.remove()
        if not all(finite):
            _LOG.warning("student %s refused: its output for a blank image is not finite", uri)
            raise RefusedError("the new student answers a blank image with what is no number; its weights are damaged")

    def _warm(self, student: Student) -> None:
        """Predict on blank images of the usual size, one and a full batch, so that no caller pays for it."""
        blank = _blank(student)
        with autocast(self._device, self._config.precision):
            student.predict([blank])
            student.predict([blank] * self._config.batching.max_images)


def _blank(student: Student) -> Pixels:
    """Of the size that the student's network usually sees."""
    side = student.settings.predict.side or _USUAL_SIDE
    return np.zeros((side, side, 3), dtype=np.uint8)


def _is_finite(output: Any) -> bool:
    """Whether all tensors of a student's output are (`QueryOutput`, `SemanticOutput`)."""
    values = (getattr(output, field.name) for field in fields(output))
    tensors = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    return all(bool(one.isfinite().all()) for one in tensors)


def _name(uri: str, kind: str) -> str:
    """For people: the promoted name, else the architecture."""
    name = files.name(uri)
    return name.removesuffix(".json") if name.endswith(".json") else kind
