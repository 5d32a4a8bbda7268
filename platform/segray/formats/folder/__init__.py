"""A folder of images, without annotations."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings


@config
class FolderSource(SourceSettings):
    """A folder of images, searched recursively. Image ids are paths below it."""

    kind: Literal["folder"] = "folder"
    uri: InputUri
    """Folder that holds the images."""


FORMAT = Format(reader=Reader(FolderSource, "segray.formats.folder.reader:FolderImages"))
