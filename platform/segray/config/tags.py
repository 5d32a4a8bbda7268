"""Where image-level tags come from: which classes an image shows, and not where."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.coco import CocoSource


@config
class CocoTags:
    """The classes of a COCO file's annotations, whose masks are not looked at."""

    kind: Literal["coco"] = "coco"
    coco: CocoSource
    """The file."""


@config
class CsvTags:
    """A CSV file with a header and the columns `image_id` and `tags`, the tags of an image parted by semicolons."""

    kind: Literal["csv"] = "csv"
    uri: InputUri
    """The file."""


@config
class FolderTags:
    """The first folder of an image's id is its only tag, as `fish/0001.jpg`."""

    kind: Literal["folders"] = "folders"


Tags = Annotated[CocoTags | CsvTags | FolderTags, pydantic.Field(discriminator="kind")]
