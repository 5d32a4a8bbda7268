"""COCO instance JSON, also in the form that CVAT imports."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings, Writer

Crowds = Literal["leave_out", "masks"]


@config
class CocoSource(SourceSettings):
    """A COCO JSON file with its image folder. Image ids are file names."""

    kind: Literal["coco"] = "coco"
    uri: InputUri
    """Folder to which the file names are relative."""
    annotations: InputUri
    """Path or URI of the JSON file."""
    crowds: Crowds = "leave_out"
    """Meaning of `iscrowd` 1. leave_out: a region of many objects, which is no mask to learn from and which evaluation
    passes over. masks: a mask like any other, as CVAT writes for everything drawn with its brush."""


_EXPORT = "segray.formats.coco.writer:export_coco"

FORMAT = Format(
    reader=Reader(CocoSource, "segray.formats.coco.reader:CocoImages", reads_annotations=True, has_prompts=True),
    writers=[
        Writer(name, about, _EXPORT, suffix=".json", options={"form": form}, ids_key="ids")
        for name, about, form in (
            ("coco", "COCO JSON with run lengths, lossless", "rle"),
            ("coco-polygons", "COCO JSON with polygons", "polygons"),
            ("cvat", "COCO JSON as CVAT imports it", "cvat"),
        )
    ],
)
