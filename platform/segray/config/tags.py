"""Settings of image-level tags: the classes that an image shows, without their places."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.coco import CocoSource


@config
class CocoTags:
    """Image-level tags from the classes of a COCO file's annotations, whose masks are ignored."""

    kind: Literal["coco"] = "coco"
    coco: CocoSource
    """COCO file whose annotations name the classes of each image."""


@config
class CsvTags:
    """Image-level tags from a CSV file with a header and the columns `image_id` and `tags`, separated by semicolons."""

    kind: Literal["csv"] = "csv"
    uri: InputUri
    """Path or URI of the CSV file."""


@config
class FolderTags:
    """Image-level tags from folders: the first folder of an image's id is its only tag, as in `fish/0001.jpg`."""

    kind: Literal["folders"] = "folders"


Tags = Annotated[CocoTags | CsvTags | FolderTags, pydantic.Field(discriminator="kind")]
