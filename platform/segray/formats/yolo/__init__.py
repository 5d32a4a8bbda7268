"""YOLO's text files: a file per image, a line per object, which is a polygon or a box."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings, Writer


@config
class YoloSource(SourceSettings):
    """An image folder beside a folder of YOLO's text files of the same stems. Image ids are paths below it."""

    kind: Literal["yolo"] = "yolo"
    uri: InputUri
    """Folder of images."""
    labels: InputUri
    """Folder of text files. A line is a class index and a polygon (a mask), or a class index, the centre and the sides
    of a box (for `job = "prompt"`), all as shares of the image's sides; a score may follow."""
    classes: tuple[str, ...] = ()
    """Class names by index; without them, those of `data.yaml` in the folder above the text files, or of `data`."""
    data: InputUri | None = None
    """YAML file that names the classes; "none" looks for `data.yaml` in the folder above the text files."""


FORMAT = Format(
    reader=Reader(YoloSource, "segray.formats.yolo.reader:YoloImages", has_prompts=True),
    writers=[Writer("yolo", "YOLO-seg text files, one polygon per mask", "segray.formats.yolo.writer:export_yolo")],
)
