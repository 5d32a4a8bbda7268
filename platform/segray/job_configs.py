"""The jobs a config file can describe, by its `job` key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from segray.config import base
from segray.config.evaluate import EvaluateConfig
from segray.config.label import LabelConfig
from segray.config.serve import ServeConfig
from segray.config.stages import CamConfig, ClassifyConfig, VoteConfig
from segray.errors import ConfigError
from segray.methods.config import TrainConfig

T = TypeVar("T")
LabelJob = LabelConfig | ClassifyConfig | CamConfig | VoteConfig
"""What `segray label` runs: each leaves a store."""
Job = LabelJob | TrainConfig | EvaluateConfig | ServeConfig
JOBS: Mapping[str, type[Job]] = {
    "label": LabelConfig,
    "classify": ClassifyConfig,
    "cam": CamConfig,
    "vote": VoteConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "serve": ServeConfig,
}


def load(path: Path, overrides: Sequence[str] = ()) -> Job:
    """The config in a file, of whatever job it describes.

    Raises:
        ConfigError: the file cannot be read or has problems, all of which are listed.
    """
    tables = base.read(path, overrides)
    job = tables.get("job")
    if not isinstance(job, str) or job not in JOBS:
        raise ConfigError(f"{path}: 1 problem", (f"job: got {job!r}, allowed: {', '.join(map(repr, JOBS))}",))
    return base.build(JOBS[job], tables, str(path))


def load_as(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """As `load`, of one job.

    Raises:
        ConfigError: also where the file describes another.
    """
    loaded = load(path, overrides)
    if not isinstance(loaded, cls):
        own = next(name for name, known in JOBS.items() if known is cls)
        raise ConfigError(f"{path}: describes a {loaded.job} job, this command needs one of kind {own!r}")
    return loaded


def load_label_job(path: Path, overrides: Sequence[str] = ()) -> LabelJob:
    """As `load`, of any job that labels.

    Raises:
        ConfigError: also where the file describes another.
    """
    loaded = load(path, overrides)
    if not isinstance(loaded, LabelJob):
        own = [name for name, known in JOBS.items() if issubclass(known, LabelJob)]
        raise ConfigError(f"{path}: describes a {loaded.job} job, this command needs one of {', '.join(own)}")
    return loaded
