"""A label job's store: its images and masks as labels."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import StoreUri
from segray.formats.format import Format, Reader, SourceSettings


@config
class StoreSource(SourceSettings):
    """What a label job with classes left: its images and its masks as their labels; refused images are left out."""

    kind: Literal["store"] = "store"
    uri: StoreUri
    """The store."""
    name: str | None = None
    """The name of this data set in a store; defaults to the URI."""


FORMAT = Format(reader=Reader(StoreSource, "segray.formats.store.reader:StoredLabels"))
