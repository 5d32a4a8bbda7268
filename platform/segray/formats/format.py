"""What a format is: how a config names it, how its files are read, and how they are written.

A folder of this package is one format, and its `__init__` has its `FORMAT`; `registry` lists them. Readers and writers
are named as text and imported when first used, so that a config loads without them. Knows no particular format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from segray.config.base import config
from segray.config.uris import InputUri, Uri

if TYPE_CHECKING:
    from segray.formats.coco.ids import CocoIds
    from segray.formats.source import Source
    from segray.formats.tally import ExportSummary
    from segray.store.rows import LabeledRow


@config
class SourceSettings:
    """The table of a config that names a source. A kind derives from it and is a `config` dataclass."""

    kind: str
    """Name of the kind of source."""
    uri: Uri
    """Folder, file or store that holds the images or names them."""
    name: str | None = None
    """Name of this data set in a store; defaults to the URI. With a name, the data can move without being labeled
    again."""
    image_list: InputUri | None = None
    """File that names the images to take, one per line, or a JSON list of COCO ids
    (docs/data.md#image-lists); "none" takes all."""
    outside: bool = False
    """Open what files of this source name outside its folder on this machine: absolute paths, `..` and file:// URIs.
    Only for files that you trust. Names of object stores and the web are always opened."""


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
    source: str
    """The class of its sources as `module:name`, constructed with such settings; imported when first opened."""
    reads_annotations: bool = False
    """Whether opening reads a whole annotation file, which is too much for a look before a job starts."""
    has_prompts: bool = False
    """Whether its sources are `PromptedSource`."""

    @property
    def kind(self) -> str:
        """The source's name in a config."""
        return str(self.settings.kind)

    def open(self, settings: SourceSettings) -> Source:
        """Open the source that the settings describe. Annotation files are read and checked, no image is opened.

        Raises:
            SourceError: what the settings point to cannot be read, or is not what its kind says.
        """
        source: Source = resolve_name(self.source)(settings)
        if settings.image_list is None:
            return source
        listed: Source = resolve_name("segray.formats.image_list:ListedImages")(source, settings.image_list)
        return listed


@dataclass(frozen=True)
class Writer:
    """A form of export. A format may have several."""

    name: str
    """The value of `segray export --format`."""
    about: str
    """One line for help pages."""
    export: str
    """The function that writes it (an `Export`) as `module:name`; imported when first used."""
    suffix: str = ""
    """How a file's name ends; empty: the export is a folder."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `export` that make this form of it."""
    model_version_key: str | None = None
    """The keyword argument that takes the exported store's fingerprint, where the format has a place for it."""
    ids_key: str | None = None
    """The keyword argument that takes the numbers of the COCO file behind the store, where the format has such."""

    @property
    def is_file(self) -> bool:
        """Whether the export is one file, not a folder."""
        return bool(self.suffix)

    def of_store(self, fingerprint: str, ids: CocoIds) -> Export:
        """Return the export of a store with this fingerprint, whose images have these numbers."""
        given = {self.model_version_key: fingerprint, self.ids_key: ids}
        named = {key: value for key, value in given.items() if key is not None}
        return partial(resolve_name(self.export), **self.options, **named)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: a reader, writers, or both."""

    reader: Reader | None = None
    writers: Sequence[Writer] = ()
