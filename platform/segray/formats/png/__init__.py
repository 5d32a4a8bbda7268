"""One PNG per mask and an index of all of them."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings, Writer


@config
class PngSource(SourceSettings):
    """An image folder beside a folder that `segray export --format png` wrote. Image ids are those of its index."""

    kind: Literal["png"] = "png"
    uri: InputUri
    """Folder of images."""
    masks: InputUri
    """Folder of the export: it holds `index.jsonl`, `labels.txt` and a folder of PNGs for each image."""


FORMAT = Format(
    reader=Reader(PngSource, "segray.formats.png.reader:PngMasks", reads_annotations=True),
    writers=[Writer("png", "one PNG per mask, lossless", "segray.formats.png.writer:export_png")],
)
