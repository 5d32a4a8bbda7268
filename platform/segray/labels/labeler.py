"""Images to labeled rows: threads decode ahead while the model works. Knows no model, no torch, no Ray."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segray.errors import ImageError
from segray.images import decoding
from segray.masks.instances import Instances
from segray.storage.prefetch import map_in_order
from segray.store.rows import ImageRow, LabeledRow

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""


Load = Callable[[ImageRow], tuple[Any, str | None]]
"""Of an image what a generator asks for, and the SHA-256 of its file; `ImageError` where it cannot be had. Runs in
threads."""


class Generator(Protocol):
    """Images to masks."""

    def generate(self, images: Sequence[Any]) -> list[Instances]:
        """Masks of each image: of its pixels, or of what else the stage loads.

        Raises:
            MemoryError: so many images, or one so large, do not fit.
        """
        ...


@dataclass(frozen=True)
class _Decoded:
    row: ImageRow
    loaded: Any = None
    sha256: str | None = None
    refused: ImageError | None = None


class Labeler:
    """Images to rows: threads decode ahead while the model works on the batch before.

    At most `images_per_batch + decode_threads` decoded images wait beside the batch at hand, whatever the number of
    images.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        max_pixels: int,
        images_per_batch: int,
        decode_threads: int,
        load: Load | None = None,
    ) -> None:
        """`load` None: the pixels, of images of at most `max_pixels`."""
        self.generator = generator
        self.load: Load = load or (lambda row: decoding.load(row.uri, max_pixels))
        self.images_per_batch = images_per_batch
        self.decode_threads = decode_threads

    def __call__(self, rows: Sequence[ImageRow]) -> Iterator[LabeledRow]:
        """One row per image; its `seconds` is its share of the time since the batch before it."""
        started, decoded = perf_counter(), self._decode_ahead(rows)
        while batch := list(islice(decoded, self.images_per_batch)):
            found = self._label([one for one in batch if one.refused is None])
            found += [_refused(one.row, one.refused) for one in batch if one.refused is not None]
            seconds, started = (perf_counter() - started) / len(batch), perf_counter()
            for fields in found:
                yield LabeledRow(seconds=seconds, **fields)

    def _decode_ahead(self, rows: Sequence[ImageRow]) -> Iterator[_Decoded]:
        ahead = self.images_per_batch + self.decode_threads + 1
        return map_in_order(self._decode, rows, threads=self.decode_threads, ahead=ahead)

    def _decode(self, row: ImageRow) -> _Decoded:
        try:
            loaded, sha256 = self.load(row)
        except ImageError as error:
            return _Decoded(row, refused=error)
        except MemoryError as error:
            return _Decoded(row, refused=ImageError("out-of-memory", f"while decoding: {error}"))
        return _Decoded(row, loaded, sha256)

    def _label(self, batch: Sequence[_Decoded]) -> list[dict[str, Any]]:
        """The batch at once; one by one where memory does not hold it, and refused where it does not hold one."""
        if not batch:
            return []
        try:
            found = self.generator.generate([one.loaded for one in batch])
        except MemoryError as error:
            if len(batch) > 1:
                log.warning("out of memory with %d images at once, going on one by one", len(batch))
                return [fields for one in batch for fields in self._label([one])]
            return [_refused(batch[0].row, ImageError("out-of-memory", f"even alone: {error}"))]
        return [
            {"image": one.row, "sha256": one.sha256, "instances": instances}
            for one, instances in zip(batch, found, strict=True)
        ]


def _refused(row: ImageRow, error: ImageError) -> dict[str, Any]:
    return {"image": row, "error": error.reason, "detail": error.detail}
