"""Supervised training's own settings."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from segray.config.base import config
from segray.config.schedule import AnySchedule, BatchSizes, Schedule
from segray.config.students import InstanceStudentConfig, SemanticStudentConfig
from segray.methods import Method


@config
class Supervised(Method):
    """Supervised training on labels alone: the baseline of every table."""

    trains: ClassVar[tuple[type, ...]] = (InstanceStudentConfig, SemanticStudentConfig)
    """Kinds of students that the method trains."""
    kind: Literal["supervised"] = "supervised"
    schedule: AnySchedule = Schedule()
    """Steps, batches and optimizer of the run."""

    def batches(self) -> Sequence[BatchSizes]:
        """Return the batches of the only run."""
        return [BatchSizes(path="method", schedule=self.schedule)]
