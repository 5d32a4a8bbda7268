"""The errors segray raises on purpose.

Each says what went wrong, where, what was given and what to do. All cross process boundaries (Ray tasks, actors),
so each is built from its message alone, which pickle restores.
"""


class SegrayError(Exception):
    """Base of every error that segray raises on purpose."""


class ConfigError(SegrayError):
    """A configuration file or override is wrong; one line per problem in `problems`."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, problems)
        self.message = message
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])


class SourceError(SegrayError):
    """A source of images or annotations as a whole cannot be read (a single bad image is a row with an error)."""


class ImageError(SegrayError):
    """One image cannot be used; `reason` is a short stable word that summaries count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class DamageError(SegrayError):
    """More of the data is unreadable, unknown or invalid than the config allows; ends a command with exit status 3."""


class StoreError(SegrayError):
    """A store is missing or damaged, or it (or a run's folder) is held by another job."""


class BackendError(SegrayError):
    """A model's weights are missing, cannot be downloaded, or were made for another architecture."""


class DeviceError(SegrayError):
    """The device of a process is broken for good (a sticky CUDA error); another process may find one that works."""


class ExportError(SegrayError):
    """A store cannot be written in the wanted format."""


class LabelError(SegrayError):
    """A label job could not finish as asked (too many refused images, nothing to label)."""


class ClusterError(SegrayError):
    """The cluster that a job is to run on cannot be reached, or is too small."""


class TrainError(SegrayError):
    """A training cannot start or go on: data that does not fit, a loss that is no number, another architecture."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
