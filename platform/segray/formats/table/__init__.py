"""Tables of boxes and points: CSV or Parquet, a row for each box or point."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings


@config
class TableSource(SourceSettings):
    """A CSV or Parquet file with a row for each box or point (docs/data.md#tables-of-boxes)."""

    kind: Literal["table"] = "table"
    uri: InputUri
    """Folder to which the images' names in the table are relative."""
    table: InputUri
    """Path or URI of the file, whose name ends in .csv or .parquet."""
    units: Literal["pixels", "relative"] = "pixels"
    """Unit of coordinates; "relative" means shares of the image's width and height."""


FORMAT = Format(
    reader=Reader(TableSource, "segray.formats.table.reader:TableImages", reads_annotations=True, has_prompts=True)
)
