"""Supervised training's own settings."""

from typing import Literal

from segray.config.base import config
from segray.config.schedule import AnySchedule, Schedule


@config
class Supervised:
    """The student on labels alone: the baseline of every table."""

    kind: Literal["supervised"] = "supervised"
    schedule: AnySchedule = Schedule()
    """Its only run."""
