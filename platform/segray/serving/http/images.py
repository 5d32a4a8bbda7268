"""Uploads to pixels, in threads, within bounds: of one image, and of all that are held at a time.

A request takes its room by its images' headers before anything is decoded and gives it back when it is done. Knows
images; knows no models.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import anyio

from segray.config.serve import RequestLimits
from segray.errors import ImageError
from segray.images import decoding
from segray.serving.backend import BusyError, Pixels
from segray.serving.http.problems import InvalidField, ProblemError
from segray.serving.http.requests import Upload

T = TypeVar("T")
Given = TypeVar("Given")

_MILLION: Final = 1_000_000
_WORDS: Final = {
    "empty": "holds no bytes",
    "not-an-image": "is no kind of image that is read (JPEG, PNG, WebP, AVIF, TIFF, GIF, BMP, JPEG 2000, PPM)",
    "unsupported": "is of a kind of image that is not read",
    "damaged": "is cut short or damaged inside",
    "zero-sized": "has no pixels",
    "too-large": "has more scans or chunks than a photo has",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImage:
    """An upload, decoded."""

    name: str
    sha256: str
    """Of the file's bytes, hex."""
    pixels: Pixels


class DecodeThreads:
    """Threads for what would hold up the event loop; so many at once that they share the processors they were given."""

    def __init__(self, number: int) -> None:
        self._threads = ThreadPoolExecutor(number, "worker")

    async def __call__(self, work: Callable[[], T]) -> T:
        """What `work` gives. A caller that is cancelled while it runs waits for it all the same: a thread cannot be
        stopped, and what it works on is in memory until it ends.
        """
        running = self._threads.submit(work)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if not running.cancel():
                with anyio.CancelScope(shield=True):
                    await asyncio.gather(asyncio.wrap_future(running), return_exceptions=True)
            raise


class ImageDecoder:
    """Decodes uploads."""

    def __init__(self, limits: RequestLimits, workers: DecodeThreads) -> None:
        self._limits = limits
        self._workers = workers
        self._held = 0

    @asynccontextmanager
    async def decode(self, uploads: Sequence[Upload]) -> AsyncIterator[list[DecodedImage]]:
        """The pictures of all uploads, in their order; their room is given back with the context.

        Raises:
            ProblemError: 413 or 422, naming every image that cannot be used.
            BusyError: other requests hold too many pixels now.
        """
        sizes_hw = _usable(await self._workers(lambda: [_attempt(decoding.probe, one.data) for one in uploads]))
        self._refuse_large(sizes_hw)
        with self._room(sum(height * width for height, width in sizes_hw)):
            yield _usable(await self._decoded(uploads))

    async def _decoded(self, uploads: Sequence[Upload]) -> list[DecodedImage | ImageError]:
        """All at once. Where the request is cancelled, this ends with the last thread that works for it."""
        most = int(self._limits.max_megapixels * _MILLION)
        found: dict[int, DecodedImage | ImageError] = {}

        async def decode(index: int) -> None:
            found[index] = await self._workers(lambda: _attempt(lambda one: _picture(one, most), uploads[index]))

        async with anyio.create_task_group() as group:
            for index in range(len(uploads)):
                group.start_soon(decode, index)
        return [found[index] for index in range(len(uploads))]

    def _refuse_large(self, sizes_hw: Sequence[tuple[int, int]]) -> None:
        limits = self._limits
        flaws = [
            InvalidField(where=f"images.{index}", reason="too-large", detail=f"has {width} x {height} pixels")
            for index, (height, width) in enumerate(sizes_hw)
            if height * width > limits.max_megapixels * _MILLION
        ]
        if flaws:
            detail = f"an image has at most {limits.max_megapixels:g} megapixels; {flaws[0].where} {flaws[0].detail}"
            raise ProblemError(413, "image-too-large", detail, flaws=flaws)
        if sum(height * width for height, width in sizes_hw) > limits.max_held_megapixels * _MILLION:
            detail = f"the images of a request have at most {limits.max_held_megapixels:g} megapixels together"
            raise ProblemError(413, "images-too-large", detail)

    @contextmanager
    def _room(self, pixels: int) -> Iterator[None]:
        if self._held + pixels > self._limits.max_held_megapixels * _MILLION:
            raise BusyError()
        self._held += pixels
        try:
            yield
        finally:
            self._held -= pixels


def _picture(upload: Upload, max_pixels: int) -> DecodedImage:
    pixels = decoding.decode(upload.data, max_pixels)
    return DecodedImage(name=upload.name, sha256=hashlib.sha256(upload.data).hexdigest(), pixels=pixels)


def _attempt(work: Callable[[Given], T], given: Given) -> T | ImageError:
    """What `work` makes of an image, or why it cannot, so that one bad image does not hide the next."""
    try:
        return work(given)
    except ImageError as error:
        return error


def _usable(found: Sequence[T | ImageError]) -> list[T]:
    """All of them, if none is bad."""
    bad = [(index, one.reason) for index, one in enumerate(found) if isinstance(one, ImageError)]
    if not bad:
        return [one for one in found if not isinstance(one, ImageError)]
    flaws = [InvalidField(where=f"images.{index}", reason=reason, detail=_WORDS[reason]) for index, reason in bad]
    detail = "; ".join(f"{flaw.where} {flaw.detail}" for flaw in flaws)
    raise ProblemError(422, "bad-image", detail, flaws=flaws)
