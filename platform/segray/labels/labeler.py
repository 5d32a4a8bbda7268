"""Images to labeled rows: threads decode ahead while the model works. Knows no model, no torch, no Ray."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from segray.config.label import StageJob
from segray.errors import BackendError, DeviceError, ImageError, StoreError, first_line
from segray.images import decoding
from segray.masks.instances import Instances
from segray.storage.prefetch import map_in_order
from segray.store.rows import ImageRow, LabeledRow

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""


class Loaded(NamedTuple):
    """An image as a generator asks for it."""

    value: Any
    sha256: str | None
    """SHA-256 of the image's file, hex."""
    left_out: tuple[str, ...] = ()
    """Why objects of the image are not asked for, a reason for each."""


Load = Callable[[ImageRow], tuple[Any, str | None] | Loaded]
"""Loads an image; raises `ImageError` where it cannot be had. Runs in threads."""


FAILED = "failed"
"""The error of an image at which code raised what nobody expected."""
_NOT_THE_IMAGES = (BackendError, DeviceError, StoreError)
"""Errors that no image is to blame for: they leave the labeler."""


class Generator(Protocol):
    """Images to masks."""

    def generate(self, images: Sequence[Any]) -> list[Instances]:
        """Masks of each image: of its pixels, or of what else the stage loads.

        Raises:
            MemoryError: so many images, or one so large, do not fit.
        """
        ...


_NOTHING = Loaded(None, None)


@dataclass(frozen=True)
class _Decoded:
    row: ImageRow
    loaded: Loaded = _NOTHING
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
        bands: decoding.Bands | None = None,
        images_per_batch: int,
        decode_threads: int,
        load: Load | None = None,
        check_device: Callable[[], None] | None = None,
    ) -> None:
        """Take the model and how to feed it.

        Args:
            generator: makes masks of what is loaded.
            max_pixels: largest image, in pixels (width times height).
            bands: see `decoding.Bands`.
            images_per_batch: images in one call of the generator.
            decode_threads: threads that load ahead.
            load: loads what the generator takes; with None, the pixels.
            check_device: raises `DeviceError` where the process's device is broken; asked after an error. None: the
                generator uses no device that can break.
        """
        self.check_device = check_device or (lambda: None)
        self._told: set[str] = set()
        self.generator = generator
        self.load: Load = load or (lambda row: decoding.load(row.uri, max_pixels, bands))
        self.images_per_batch = images_per_batch
        self.decode_threads = decode_threads

    @classmethod
    def of_job(
        cls,
        job: StageJob,
        generator: Generator,
        *,
        load: Load | None = None,
        check_device: Callable[[], None] | None = None,
    ) -> Self:
        """Make the labeler of a job, with the limits and batches of its config; arguments as of the constructor."""
        return cls(
            generator,
            max_pixels=job.limits.max_pixels,
            bands=job.limits.bands,
            images_per_batch=job.workers.images_per_batch,
            decode_threads=job.workers.decode_threads,
            load=load,
            check_device=check_device,
        )

    def __call__(self, rows: Sequence[ImageRow]) -> Iterator[LabeledRow]:
        """Yield one row per image; its `seconds` is its share of the time since the batch before it.

        Whatever decoding or the model raises at an image becomes its row's error.

        Raises:
            BackendError, DeviceError, StoreError: no image is to blame.
        """
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
            return _Decoded(row, Loaded(*self.load(row)))
        except _NOT_THE_IMAGES:
            raise
        except Exception as error:
            return _Decoded(row, refused=_reason(error, "while decoding: "))

    def _label(self, batch: Sequence[_Decoded]) -> list[dict[str, Any]]:
        """Label the batch at once; one by one where that raises, and refuse the image that raises alone."""
        if not batch:
            return []
        try:
            found = self.generator.generate([one.loaded.value for one in batch])
            return [
                {
                    "image": one.row,
                    "sha256": one.loaded.sha256,
                    "left_out": one.loaded.left_out,
                    "instances": instances,
                }
                for one, instances in zip(batch, found, strict=True)
            ]
        except _NOT_THE_IMAGES:
            raise
        except Exception as error:
            if not isinstance(error, MemoryError):
                self.check_device()
            if len(batch) == 1:
                self._tell(batch[0].row, error)
                return [_refused(batch[0].row, _reason(error, ""))]
            log.warning("%d images at once failed (%r), going on one by one", len(batch), error)
        return [fields for one in batch for fields in self._label([one])]

    def _tell(self, row: ImageRow, error: Exception) -> None:
        """Log a refusal, with the trace of the first error of each type."""
        trace = None if type(error).__name__ in self._told else error
        self._told.add(type(error).__name__)
        log.warning("image %s is refused: %r", row.image_id, error, exc_info=trace)


def _reason(error: Exception, when: str) -> ImageError:
    """Say of anything that was raised why an image is refused; `when` begins the detail."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, MemoryError):
        return ImageError("out-of-memory", f"{when}{error}" if when else f"even alone: {error}")
    return ImageError(FAILED, f"{when}{type(error).__name__}: {first_line(error)}")


def _refused(row: ImageRow, error: ImageError) -> dict[str, Any]:
    return {"image": row, "error": error.reason, "detail": error.detail}
