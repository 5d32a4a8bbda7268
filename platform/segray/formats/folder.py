"""A folder of images. Knows names, opens nothing."""

from collections.abc import Iterator

from segray.config.sources import FolderSource
from segray.images import decoding
from segray.masks.instances import Instances
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

    def instances(self, image_id: str) -> Instances | None:  # noqa: ARG002 - a folder knows nothing of any image
        """None."""
        return None
