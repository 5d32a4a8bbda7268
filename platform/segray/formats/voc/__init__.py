"""Class maps as Pascal VOC has them: a PNG of indices per image."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings, Writer


@config
class VocSource(SourceSettings):
    """An image folder beside a folder of index PNGs of the same stems, as in Pascal VOC. Image ids are paths below
    it.
    """

    kind: Literal["voc"] = "voc"
    uri: InputUri
    """Folder of images (VOC: JPEGImages)."""
    masks: InputUri
    """Folder of class maps (VOC: SegmentationClass), in which 0 is the background and 255 unknown."""
    classes: tuple[str, ...] = ()
    """Class names by index, background first; without them, classes are named by their numbers."""
    name: str | None = None
    """Name of this data set in a store; defaults to the URI."""


FORMAT = Format(
    reader=Reader(VocSource, "segray.formats.voc.reader:VocImages"),
    writers=[Writer("voc", "class maps as index PNGs, as in Pascal VOC", "segray.formats.voc.writer:export_voc")],
)
