"""Supervised training's own settings."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from segray.config.base import config
from segray.config.schedule import AnySchedule, Schedule, Share
from segray.config.students import Mask2Former, Semantic


@config
class Supervised:
    """The student on labels alone: the baseline of every table."""

    trains: ClassVar[tuple[type, ...]] = (Mask2Former, Semantic)
    """Kinds of students."""
    kind: Literal["supervised"] = "supervised"
    schedule: AnySchedule = Schedule()
    """Its only run."""

    def shares(self) -> Sequence[Share]:
        """Its run."""
        return [Share(path="recipe", schedule=self.schedule)]
