"""Draws docs/images/masks.jpg from the demo's store: `python docs/images/draw.py out/demo/stores/masks-*`."""

import sys
from heapq import nsmallest
from pathlib import Path

import numpy as np
from PIL import Image

from segray.images import decoding
from segray.pages import overlay
from segray.store import Store
from segray.store.rows import labeled_rows

COLUMNS = 6
OUT = Path(__file__).with_name("masks.jpg")


def main(store_uri: str) -> None:
    """Two rows: scenes above, the masks found in them below."""
    rows = (row for batch in Store.open(store_uri).rows() for row in labeled_rows(batch) if row.instances is not None)
    best = nsmallest(COLUMNS, rows, key=lambda row: row.image.image_id)
    plain = [decoding.load(row.image.uri, max_pixels=10**8)[0] for row in best]
    drawn = [overlay.draw(pixels, row.instances) for pixels, row in zip(plain, best, strict=True) if row.instances]
    picture = np.concatenate([np.concatenate(plain, axis=1), np.concatenate(drawn, axis=1)])
    Image.fromarray(picture).save(OUT, quality=88)


if __name__ == "__main__":
    main(sys.argv[1])
