"""A label job's store: its images and masks as labels."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import StoreUri
from segray.formats.format import Format, Reader, SourceSettings


@config
class StoreSource(SourceSettings):
    """A store with classes: its images, labeled with its masks. Refused images are left out."""

    kind: Literal["store"] = "store"
    uri: StoreUri
    """Folder of the store."""


FORMAT = Format(reader=Reader(StoreSource, "segray.formats.store.reader:StoredLabels", has_prompts=True))
