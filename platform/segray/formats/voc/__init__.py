"""Class maps as Pascal VOC has them: a PNG of indices per image."""

from typing import Literal

import pydantic

from segray.config.base import SettingError, config
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
    masks: InputUri | None = None
    """Folder of class maps (VOC: SegmentationClass), in which 0 is the background and 255 unknown; "none" takes the
    class maps that `image_list` names beside the images."""
    classes: tuple[str, ...] = ()
    """Class names by index, background first; without them, those of `labels.txt` in the folder above the class maps,
    which exports write, and where there is none the numbers."""
    first_index: Literal[0, 1] = 0
    """Index of the first class in the class maps. 1: index 0 is unknown, as in ADE20K."""

    @pydantic.model_validator(mode="after")
    def _masks_are_named(self) -> "VocSource":
        if self.masks is None and self.image_list is None:
            raise SettingError("masks", "missing, give the folder of class maps, or an image_list that names them")
        return self


FORMAT = Format(
    reader=Reader(VocSource, "segray.formats.voc.reader:VocImages"),
    writers=[Writer("voc", "class maps as index PNGs, as in Pascal VOC", "segray.formats.voc.writer:export_voc")],
)
