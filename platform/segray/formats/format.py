"""What a format is: how a config names it, how its files are read, and how they are written.

A module of this package that has a `FORMAT` is one format; `registry` lists them. Knows no particular one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from segray.formats.source import Source, SourceSettings
from segray.formats.tally import ExportSummary
from segray.store.rows import LabeledRow


class Export(Protocol):
    """A function that writes rows to a file or folder."""

    def __call__(
        self, rows: Iterable[LabeledRow], out: Path, classes: Sequence[str], *, overwrite: bool
    ) -> ExportSummary:
        """Write rows; whole or not at all.

        Raises:
            ExportError: `out` exists and may not be replaced, or the rows do not fit the format.
        """


@dataclass(frozen=True)
class Reader:
    """A kind of source."""

    settings: type[SourceSettings]
    """The class of its table in a config; its `kind` is the source's name."""
    open: Callable[[Any], Source]
    """Opens the source that such a table describes. Reads and checks annotation files, opens no image."""
    reads_annotations: bool = False
    """Whether opening reads a whole annotation file, which is too much for a look before a job starts."""

    @property
    def kind(self) -> str:
        """The source's name in a config."""
        return str(self.settings.kind)


@dataclass(frozen=True)
class Writer:
    """A form of export. A format may have several."""

    name: str
    """The value of `segray export --format`."""
    about: str
    """One line for help pages."""
    export: Callable[..., ExportSummary]
    suffix: str = ""
    """How a file's name ends; empty: the export is a folder."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `export` that make this form of it."""
    model_version_key: str | None = None
    """The keyword argument that takes the exported store's fingerprint, where the format has a place for it."""

    @property
    def is_file(self) -> bool:
        """Whether the export is one file, not a folder."""
        return bool(self.suffix)

    def of_store(self, fingerprint: str) -> Export:
        """Return the export of a store with this fingerprint."""
        named = {self.model_version_key: fingerprint} if self.model_version_key else {}
        return partial(self.export, **self.options, **named)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: a reader, writers, or both."""

    reader: Reader | None = None
    writers: Sequence[Writer] = ()
