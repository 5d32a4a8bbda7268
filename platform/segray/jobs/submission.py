"""What is submitted: a checked config, the command that runs it elsewhere, and the files that travel with it.

Knows configs, this checkout's folders and this machine's environment; neither Ray nor Kubernetes.
"""

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segray import job_configs
from segray.config.base import fingerprint, plain
from segray.config.evaluate import EvaluateConfig
from segray.config.label import StageJob
from segray.config.uris import named_uris
from segray.errors import ConfigError
from segray.methods.config import TrainConfig

KINDS = ("label", "train", "evaluate")
CODE = ("platform", "jobs", "serve", "configs")
"""What of a checkout a job needs to run."""
CHECKOUT = Path(__file__).parents[3]
"""Where the running code lies; a checkout, or where an installed package's folders happen to be."""
FOLDER = "submitted"
"""Where the config lies in the parcel."""
MOST_BYTES = 100_000_000
"""A larger parcel holds something that is no code."""

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCAL = re.compile(r"file://|(?![A-Za-z][A-Za-z0-9+.-]*://)")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job as the user gave it, checked."""

    kind: str
    """One of `KINDS`."""
    config: Path
    overrides: tuple[str, ...]
    loaded: job_configs.Job
    name: str
    """What the job is called; the same config gives the same."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment of the job's processes, on every machine."""

    @classmethod
    def load(
        cls,
        kind: str,
        config: Path,
        overrides: Sequence[str] = (),
        name: str | None = None,
        variables: Sequence[str] = (),
    ) -> "Submission":
        """Check a config here, before any cluster is asked.

        Args:
            kind: one of `KINDS`.
            config: the TOML file.
            overrides: key.path=value.
            name: instead of one made from the config.
            variables: NAME=VALUE, or NAME for the value that it has here.

        Raises:
            ConfigError: the config has problems or is another job's; a name that a cluster would not take; a variable
                that has no value here.
        """
        loaded: job_configs.Job
        if kind == "label":
            loaded = job_configs.load_label_job(config, overrides)
        else:
            loaded = job_configs.load_as(job_configs.JOBS[kind], config, overrides)
        name = name or f"{kind}-{fingerprint(loaded)}"
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"name {name!r}: give at most 47 lower-case letters, digits and hyphens, a letter first and no hyphen"
                " last"
            )
        return cls(
            kind=kind,
            config=config,
            overrides=tuple(overrides),
            loaded=loaded,
            name=name,
            variables=dict(_variable(each) for each in variables),
        )

    def command(self, config: str) -> str:
        """The shell command that runs it where its config lies at `config`."""
        return shlex.join(["python", "-m", f"jobs.{self.kind}", config, *self.overrides])

    @property
    def driver(self) -> tuple[float, float]:
        """CPUs and GPUs that the command itself computes with; (0, 0) where actors do all the work."""
        if isinstance(self.loaded, EvaluateConfig):
            student = self.loaded.student
            return 1, float(student is not None and student.device == "cuda")
        if isinstance(self.loaded, TrainConfig) and self.loaded.workers.num_workers == 0:
            return self.loaded.workers.cpus, float(self.loaded.device == "cuda")
        if isinstance(self.loaded, StageJob) and self.loaded.workers.in_process:
            return self.loaded.workers.cpus, self.loaded.workers.gpus
        if isinstance(self.loaded, StageJob) and self.loaded.trains_first:
            # The command trains the model, unless a task with a GPU does.
            return float(not self.loaded.workers.gpus), 0
        return 0, 0

    def local_paths(self) -> list[str]:
        """`key.path = value` of every path in the config that means this machine's files, or a cluster node's own."""
        named = {one.path for one in named_uris(self.loaded)}
        texts = ((path, value) for path, value in _strings(plain(self.loaded)) if _LOCAL.match(value))
        return [f"{path} = {value}" for path, value in texts if path in named or _is_path(value)]


@contextmanager
def parcel(submission: Submission, *, with_code: bool) -> Iterator[Path]:
    """A folder to run the job in: its config in `FOLDER`, and this checkout's code if wanted. Gone after the `with`.

    Raises:
        ConfigError: this code lies in no checkout, or its folders hold more than `MOST_BYTES`.
    """
    with tempfile.TemporaryDirectory(prefix="segray-parcel-") as scratch:
        folder = Path(scratch)
        (folder / FOLDER).mkdir()
        shutil.copyfile(submission.config, folder / FOLDER / submission.config.name)
        if with_code:
            _copy_code(folder)
        yield folder


def _variable(given: str) -> tuple[str, str]:
    name, is_given, value = given.partition("=")
    if not _VARIABLE.fullmatch(name):
        raise ConfigError(f"--env {name!r}: give NAME=VALUE, or NAME for the value that it has here")
    if not is_given and name not in os.environ:
        raise ConfigError(f"--env {name}: it is not set here: give {name}=VALUE, or set it")
    return name, value if is_given else os.environ[name]


def _copy_code(folder: Path) -> None:
    if not all((CHECKOUT / name).is_dir() for name in CODE):
        raise ConfigError(
            f"{CHECKOUT}: holds no checkout of the project, so there is no code to send: run this from one, or use an"
            " image that has the code and say --image-code"
        )
    ignored = shutil.ignore_patterns("__pycache__", ".*", *_ignored())
    for name in CODE:
        shutil.copytree(CHECKOUT / name, folder / name, ignore=ignored)
    sizes = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if sum(sizes.values()) > MOST_BYTES:
        largest = ", ".join(
            f"{path} ({sizes[path] / 1e6:.0f} MB)" for path in sorted(sizes, key=lambda p: -sizes[p])[:3]
        )
        raise ConfigError(
            f"the code to send is {sum(sizes.values()) / 1e6:.0f} MB, at most {MOST_BYTES / 1e6:.0f} MB can go: its"
            f" largest files are {largest}; move data out of {', '.join(CODE)}, or name it in .gitignore"
        )


def _ignored() -> list[str]:
    """Names that the checkout's .gitignore keeps out everywhere; one that begins with / lies beside the code."""
    lines = (CHECKOUT / ".gitignore").read_text().splitlines() if (CHECKOUT / ".gitignore").exists() else []
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith(("#", "!", "/"))]


def _strings(tables: Any, path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tables.items() if isinstance(tables, dict) else ():
        below = f"{path}.{key}" if path else key
        if isinstance(value, str):
            yield below, value
        else:
            yield from _strings(value, below)


def _is_path(value: str) -> bool:
    """Whether a text that may also be a name, such as a model's, is a path that exists here."""
    return "/" in value and Path(value).expanduser().exists()
