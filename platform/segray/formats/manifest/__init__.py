"""A Parquet manifest: a table of URIs, for sources too large or too scattered to list."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings


@config
class ManifestSource(SourceSettings):
    """A Parquet file or folder of them with a `uri` column, and `image_id` and `version` where known."""

    kind: Literal["manifest"] = "manifest"
    uri: InputUri
    """The Parquet file or folder."""
    name: str | None = None
    """The name of this data set in a store; defaults to the URI."""


FORMAT = Format(reader=Reader(ManifestSource, "segray.formats.manifest.reader:ManifestImages"))
