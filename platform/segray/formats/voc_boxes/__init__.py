"""Boxes as Pascal VOC has them: an XML file per image."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings


@config
class VocBoxesSource(SourceSettings):
    """An image folder beside a folder of Pascal VOC's XML files of the same stems. Image ids are paths below it."""

    kind: Literal["voc-boxes"] = "voc-boxes"
    uri: InputUri
    """Folder of images (VOC: JPEGImages)."""
    annotations: InputUri
    """Folder of XML files (VOC: Annotations), with boxes for `job = "prompt"`."""
    classes: tuple[str, ...] = ()
    """Class names; objects of other classes are left out. Without them all files are read at the start, and their names
    are the classes."""
    first_pixel: Literal[0, 1] = 1
    """Number of the first pixel of a row or column: 1 in VOC itself, 0 as some tools write it."""


FORMAT = Format(
    reader=Reader(VocBoxesSource, "segray.formats.voc_boxes.reader:VocBoxes", reads_annotations=True, has_prompts=True)
)
