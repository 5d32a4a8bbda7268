"""The jobs a config file can describe, by its `job` key."""

from collections.abc import Sequence
from pathlib import Path

from segray.config import base
from segray.config.label import LabelConfig
from segray.errors import ConfigError

JOBS = {"label": LabelConfig}


def load(path: Path, overrides: Sequence[str] = ()) -> LabelConfig:
    """The config in a file, of whatever job it describes.

    Raises:
        ConfigError: the file cannot be read or has problems, all of which are listed.
    """
    tables = base.read(path, overrides)
    job = tables.get("job")
    if job not in JOBS:
        raise ConfigError(f"{path}: 1 problem", (f"job: got {job!r}, allowed: {', '.join(map(repr, JOBS))}",))
    return base.build(JOBS[job], tables, str(path))
