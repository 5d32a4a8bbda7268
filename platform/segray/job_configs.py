"""The jobs a config file can describe, by its `job` key. Imports no torch: stages are found by their names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Final, TypeVar

from segray.config import base
from segray.config.evaluate import EvaluateConfig
from segray.config.label import StageJob
from segray.config.serve import ServeConfig
from segray.errors import ConfigError
from segray.methods.config import TrainConfig

T = TypeVar("T")
Job = StageJob | TrainConfig | EvaluateConfig | ServeConfig


@dataclass(frozen=True)
class StageNames:
    """The two parts of a job that labels, as `module:name`."""

    config: str
    """The class of its config, a `StageJob`; its module imports no torch."""
    stage_of: str
    """The function that makes the stage (`segray.labels.stages.stage.Stage`) that such a config describes."""
    images_of: str | None = None
    """The function that yields the images of an opened source, where the job does not label simply all of them."""


LABEL_JOBS: Final[Mapping[str, StageNames]] = {
    "label": StageNames("segray.config.label:LabelConfig", "segray.labels.stages.segment:stage_of"),
    "classify": StageNames("segray.config.label:ClassifyConfig", "segray.labels.stages.classify:stage_of"),
    "prompt": StageNames(
        "segray.labels.prompting.config:PromptConfig",
        "segray.labels.prompting.stage:stage_of",
        images_of="segray.labels.prompting.stage:images_of",
    ),
    "predict": StageNames("segray.labels.predicting.config:PredictConfig", "segray.labels.predicting.stage:stage_of"),
    "cam": StageNames("segray.methods.sepl.config:CamConfig", "segray.methods.sepl.cam_stage:stage_of"),
    "vote": StageNames("segray.methods.sepl.config:VoteConfig", "segray.methods.sepl.vote_stage:stage_of"),
}
"""The jobs that `segray label` runs; each leaves a store."""
JOBS: Final[Mapping[str, type[Job]]] = {
    **{kind: resolve_name(names.config) for kind, names in LABEL_JOBS.items()},
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "serve": ServeConfig,
}


def load(path: Path, overrides: base.Overrides = ()) -> Job:
    """The config in a file, of whatever job it describes.

    Raises:
        ConfigError: the file cannot be read or has problems, all of which are listed.
    """
    tables = base.read(path)
    job = tables.get("job")
    if not isinstance(job, str) or job not in JOBS:
        raise ConfigError(f"{path}: 1 problem", (f"job: got {job!r}, allowed: {', '.join(map(repr, JOBS))}",))
    return base.build(JOBS[job], base.overridden(tables, overrides, JOBS[job]), str(path))


def load_as(cls: type[T], path: Path, overrides: base.Overrides = ()) -> T:
    """As `load`, of one job.

    Raises:
        ConfigError: also where the file describes another.
    """
    loaded = load(path, overrides)
    if not isinstance(loaded, cls):
        own = next(name for name, known in JOBS.items() if known is cls)
        raise ConfigError(f"{path}: describes a {loaded.job} job, this command needs one of kind {own!r}")
    return loaded


def load_label_job(path: Path, overrides: base.Overrides = ()) -> StageJob:
    """As `load`, of any job that labels.

    Raises:
        ConfigError: also where the file describes another.
    """
    loaded = load(path, overrides)
    if not isinstance(loaded, StageJob):
        raise ConfigError(f"{path}: describes a {loaded.job} job, this command needs one of {', '.join(LABEL_JOBS)}")
    return loaded
