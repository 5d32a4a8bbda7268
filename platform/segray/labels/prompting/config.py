"""Settings of the prompt job. Imports no torch."""

from typing import Literal

import pydantic

from segray.config.base import config
from segray.config.label import SamWorkers, StageJob, require_gpus
from segray.config.model_kinds import SamConfig
from segray.config.sam import OriginalSamConfig, PromptedMasksSettings
from segray.formats.registry import READERS, SourceConfig


@config
class PromptConfig(StageJob):
    """A job that turns boxes and points of a source into masks, one for each object.

    Masks keep the object's class, score, id and attributes.
    """

    job: Literal["prompt"]
    """Kind of job that this file describes."""
    source: SourceConfig
    """Images, with a box, points or both for each object."""
    sam: SamConfig = OriginalSamConfig()
    """Segment Anything model that makes the masks."""
    workers: SamWorkers = SamWorkers()
    """Workers that label, and the resources each reserves."""
    prompts: PromptedMasksSettings = PromptedMasksSettings()
    """Settings of asking, and of doubting masks."""

    @property
    def images(self) -> SourceConfig:
        """Return the source."""
        return self.source

    @pydantic.model_validator(mode="after")
    def _has_prompts(self) -> "PromptConfig":
        if not READERS[self.source.kind].has_prompts:
            kinds = ", ".join(kind for kind, reader in READERS.items() if reader.has_prompts)
            raise ValueError(f"source.kind {self.source.kind!r} has no boxes or points; these have: {kinds}")
        require_gpus(self.sam, self.workers)
        return self
