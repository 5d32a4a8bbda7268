"""The images below a folder. Knows names, opens nothing."""

from collections.abc import Iterator

from segray.formats.folder import FolderSource
from segray.formats.source import image_files
from segray.store.rows import ImageRow
from segray.tally import Tally


class FolderImages:
    """All files below a folder whose names end as image files do (`images.SUFFIXES`); ids are their paths below it."""

    classes: tuple[str, ...] = ()

    def __init__(self, config: FolderSource) -> None:
        self._uri, self.tally = config.uri, Tally()

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`."""
        for entry in image_files(self._uri, self.tally):
            yield ImageRow(image_id=entry.path, uri=entry.uri, version=entry.version)

    def instances(self, image_id: str, *, crowds: bool = False) -> None:  # noqa: ARG002 - a folder has no annotations
        """Return None: a folder has no annotations."""
        return
