"""A Parquet manifest: a table of URIs, for sources too large or too scattered to list."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings


@config
class ManifestSource(SourceSettings):
    """A Parquet file, or a folder of them, with a `uri` column and optional columns `image_id` and `version`."""

    kind: Literal["manifest"] = "manifest"
    uri: InputUri
    """Parquet file, or folder of Parquet files."""


FORMAT = Format(reader=Reader(ManifestSource, "segray.formats.manifest.reader:ManifestImages"))
