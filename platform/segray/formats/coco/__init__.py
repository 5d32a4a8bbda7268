"""COCO instance JSON, also in the form that CVAT imports."""

from segray.formats.coco.reader import CocoImages, CocoSource, read_document
from segray.formats.coco.writer import export_coco
from segray.formats.format import Format, Reader, Writer

FORMAT = Format(
    reader=Reader(CocoSource, CocoImages, reads_annotations=True),
    writers=[
        Writer("coco", "COCO JSON with run lengths, lossless", export_coco, suffix=".json"),
        Writer("coco-polygons", "COCO JSON with polygons", export_coco, suffix=".json", options={"form": "polygons"}),
        Writer("cvat", "COCO JSON as CVAT imports it", export_coco, suffix=".json", options={"form": "cvat"}),
    ],
)

__all__ = ["FORMAT", "CocoImages", "CocoSource", "export_coco", "read_document"]
