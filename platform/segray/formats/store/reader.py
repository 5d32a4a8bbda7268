"""A store of a label job as a source: its images, and its masks as their annotations.

Its classes are what the stage wrote into the manifest (`content["classes"]`, names by class id); a store of masks
without classes has none. Images that the job refused are left out.
"""

from collections.abc import Iterator

from segray.errors import SourceError, StoreError
from segray.formats.store import StoreSource
from segray.masks.instances import Instances
from segray.store import Store
from segray.store.rows import ImageRow, labeled_rows


class StoredLabels:
    """Each image in the version written last."""

    def __init__(self, config: StoreSource) -> None:
        try:
            self._store = Store.open(config.uri)
        except StoreError as error:
            raise SourceError(str(error)) from error
        self.classes = stored_classes(self._store)
        self._near: dict[str, Instances] = {}

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`. Annotations of the rows given last are at hand."""
        for batch in self._store.rows():
            found = [row for row in labeled_rows(batch) if row.instances is not None]
            self._near = {row.image.image_id: row.instances for row in found if row.instances is not None}
            yield from (row.image for row in found)

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:  # noqa: ARG002 - stores hold no crowds
        """See `Source`."""
        if image_id in self._near:
            return self._near[image_id]
        found = [row for batch in self._store.rows(image_ids=[image_id]) for row in labeled_rows(batch)]
        return found[0].instances if found else None


def stored_classes(store: Store) -> tuple[str, ...]:
    """Names by the class id of a store's masks; none where its stage gives no classes."""
    return tuple(store.manifest.content.get("classes", ()))
