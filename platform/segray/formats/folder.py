"""A folder of images. Knows names, opens nothing."""

from collections.abc import Iterator
from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader
from segray.formats.source import SourceSettings
from segray.images import decoding
from segray.storage import files
from segray.store.rows import ImageRow


@config
class FolderSource(SourceSettings):
    """A folder of images, searched recursively; ids are paths below it."""

    kind: Literal["folder"] = "folder"
    uri: InputUri
    """The folder."""
    name: str | None = None
    """The name of this data set in a store; defaults to the URI. With a name the data can move without being
    labeled again."""


class FolderImages:
    """All files below a folder whose names end as image files do (`images.SUFFIXES`); ids are their paths below it."""

    classes: tuple[str, ...] = ()

    def __init__(self, config: FolderSource) -> None:
        self._uri = config.uri

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        for entry in files.list_files(self._uri, decoding.SUFFIXES):
            yield ImageRow(image_id=entry.path, uri=entry.uri, version=entry.version)

    def instances(self, image_id: str, *, crowds: bool = False) -> None:  # noqa: ARG002 - a folder has no annotations
        """Return None: a folder has no annotations."""
        return


FORMAT = Format(reader=Reader(FolderSource, FolderImages))
