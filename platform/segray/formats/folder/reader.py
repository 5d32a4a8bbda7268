"""The images below a folder. Knows names, opens nothing."""

from collections.abc import Iterator

from segray.formats.folder import FolderSource
from segray.images import decoding
from segray.storage import files
from segray.store.rows import ImageRow


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
