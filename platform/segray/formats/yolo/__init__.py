"""YOLO-seg labels: a text file per image, a polygon per mask."""

from segray.formats.format import Format, Writer

FORMAT = Format(
    writers=[Writer("yolo", "YOLO-seg text files, one polygon per mask", "segray.formats.yolo.writer:export_yolo")]
)
