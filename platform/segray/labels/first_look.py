"""A look at a few images before a label job spends anything: are so many of them damaged that it should not begin.

Knows rows and pixels; no stage and no store.
"""

from collections.abc import Sequence
from typing import Final

from segray.config.label import ImageLimits
from segray.errors import ImageError
from segray.formats.store.reader import refusal
from segray.images import decoding
from segray.storage.prefetch import map_in_order
from segray.store.rows import ImageRow
from segray.tally import Tally

LOOKED_AT: Final = 64
"""Most images that are decoded for it."""


def look_at(rows: Sequence[ImageRow], *, limits: ImageLimits, max_damaged: float, where: str) -> None:
    """Decode these images, drawn at random from all, and see that they do not show too much damage.

    Raises:
        DamageError: so many are damaged that of all images it is surely more than `max_damaged`.
    """
    tally = Tally()
    for row, error in zip(rows, map_in_order(lambda one: _error(one, limits), rows), strict=True):
        if error is None:
            tally.use("images")
        else:
            tally.leave_out("images", refusal(error.reason), f"{row.image_id}: {error.detail}")
    tally.check_sample(max_damaged, f"{where}, a sample of {len(rows)} images")


def _error(row: ImageRow, limits: ImageLimits) -> ImageError | None:
    try:
        decoding.load(row.uri, limits.max_pixels, limits.bands)
    except ImageError as error:
        return error
    except MemoryError as error:
        return ImageError("out-of-memory", str(error))
    return None
