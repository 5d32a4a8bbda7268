"""One PNG per mask and an index of all of them."""

from segray.formats.format import Format, Writer

FORMAT = Format(writers=[Writer("png", "one PNG per mask, lossless", "segray.formats.png.writer:export_png")])
