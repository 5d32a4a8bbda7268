"""The table of formats, and what derives from it: kinds of sources, forms of export, the `source` tables of configs.

Readers and writers are imported when first used. CONTRIBUTING.md says how to add a format.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, Union

import pydantic

from segray.formats.format import Format, Reader, SourceSettings, Writer

FOLDERS: Final = (
    "folder",
    "coco",
    "voc",
    "cityscapes",
    "manifest",
    "label_studio",
    "store",
    "yolo",
    "png",
    "table",
    "voc_boxes",
)
"""Folders of this package, each with a `FORMAT`."""

FORMATS: Final[tuple[Format, ...]] = tuple(import_module(f"segray.formats.{name}").FORMAT for name in FOLDERS)
READERS: Final[Mapping[str, Reader]] = {one.reader.kind: one.reader for one in FORMATS if one.reader}
"""Kinds of sources by the `kind` in a config."""
WRITERS: Final[Mapping[str, Writer]] = {writer.name: writer for one in FORMATS for writer in one.writers}
"""Forms of export by name."""

if TYPE_CHECKING:
    from segray.formats.source import Source

    SourceConfig: TypeAlias = SourceSettings
else:
    SourceConfig = Annotated[
        Union[*(reader.settings for reader in READERS.values())], pydantic.Field(discriminator="kind")
    ]
    """The `source` table of a config, by `kind`."""


def open_source(config: SourceSettings) -> "Source":
    """Open the source that a config names. Annotation files are read and checked here; images are not looked at.

    Raises:
        SourceError: what the config points to cannot be read, or is not what its kind says.
    """
    return READERS[config.kind].open(config)
