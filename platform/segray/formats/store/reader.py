"""A store of a label job as a source: its images, and its masks as their annotations.

Its classes are what the stage wrote into the manifest (`content["classes"]`, names by class id); a store of masks
without classes has none. Images that the job refused are left out.
"""

from collections.abc import Iterator
from functools import cached_property

import pyarrow.compute as pc

from segray.errors import SourceError, StoreError
from segray.formats.coco.ids import CocoIds
from segray.formats.store import StoreSource
from segray.masks.instances import Instances
from segray.masks.object_prompts import ObjectPrompts
from segray.store import Store
from segray.store.lookup import StoreLookup
from segray.store.rows import SOURCE, ImageRow, image_rows
from segray.tally import Reason, Tally


class StoredLabels:
    """The images of a store, each in the version written last, with its masks."""

    def __init__(self, config: StoreSource) -> None:
        """Open the store.

        Raises:
            SourceError: it is not there, or damaged.
        """
        try:
            self._store = Store.open(config.uri)
        except StoreError as error:
            raise SourceError(str(error)) from error
        self.classes = stored_classes(self._store)
        self.tally = Tally()

    @property
    def coco_ids(self) -> CocoIds:
        """See `KnowsCocoIds`: those of the file that the store's images come from."""
        return CocoIds.read(self._store.uri)

    @cached_property
    def _lookup(self) -> StoreLookup:
        """The rows by image, copied when the first annotations are asked for."""
        return StoreLookup(self._store.uri)

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`. Masks are not read."""
        self.tally.restart("images")
        for batch in self._store.rows([*SOURCE.names, "error"]):
            refused = batch.filter(pc.is_valid(batch["error"]))
            for image_id, error in zip(*(refused[name].to_pylist() for name in ("image_id", "error")), strict=True):
                self.tally.leave_out("images", refusal(error), image_id)
            yield from image_rows(batch.filter(pc.is_null(batch["error"])))

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:  # noqa: ARG002 - stores hold no crowds
        """See `Source`."""
        found = self._lookup.masks(image_id)
        self.tally.once(image_id).use("masks", 0 if found is None else len(found))
        return found

    def prompts(self, image_id: str) -> ObjectPrompts | None:
        """See `PromptedSource`: the boxes of the masks."""
        found = self.instances(image_id)
        if found is None:
            return None
        return ObjectPrompts.build(
            boxes_xyxy=found.boxes_xyxy,
            scores=found.scores,
            classes=found.classes,
            ids=list(found.ids),
            attributes=list(found.attributes),
            size_hw=found.size_hw,
        )


def stored_classes(store: Store) -> tuple[str, ...]:
    """Names by the class id of a store's masks; none where its stage gives no classes."""
    return tuple(store.manifest.content.get("classes", ()))


def refusal(error: str) -> Reason:
    """Return the reason to count an image by that a label job refused with this error."""
    return Reason(error, f"are refused: {error}", is_damage=True)
