"""Supervised training's own settings."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from segray.config.base import config
from segray.config.schedule import AnySchedule, Batches, Schedule
from segray.config.students import Queries, Semantic


@config
class Supervised:
    """The student on labels alone: the baseline of every table."""

    trains: ClassVar[tuple[type, ...]] = (Queries, Semantic)
    """Kinds of students."""
    kind: Literal["supervised"] = "supervised"
    schedule: AnySchedule = Schedule()
    """Its only run."""

    def batches(self) -> Sequence[Batches]:
        """Its run."""
        return [Batches(path="recipe", schedule=self.schedule)]
