"""What each step is trained on: batches of decoded, resized, cropped images, ahead of the step that wants them.

Step, worker and piece decide which slots of the global batch are drawn, slots decide images and keys: any number of
workers and pieces sees the same global batch, and a run resumes at any step without state. Knows no methods, no Ray.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from segray import keyed_random
from segray.config.schedule import Schedule
from segray.config.views import WeakView
from segray.datasets.training_rows import TrainingRow, TrainingRows
from segray.errors import ConfigError, ImageError, TrainError
from segray.images import decoding
from segray.storage.prefetch import map_in_order
from segray.training.augmentation.batch import Batch, collate
from segray.training.augmentation.geometry import sample
from segray.training.sampling import EpochOrder

Piece = tuple[Batch, Batch | None]
"""Labeled and unlabeled images of one piece of a worker's step."""

_AHEAD = 2
"""Steps that are made ready before they are asked for."""
_THREADS = 2
_CACHE_BYTES = 256 << 20


class _Decoded:
    """Pixels of images lately decoded, so that small data sets are decoded once. Shared by threads; pickles empty."""

    def __init__(self) -> None:
        self._pixels: OrderedDict[str, npt.NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()

    def pixels(self, uri: str, bands: decoding.Bands | None = None) -> npt.NDArray[np.uint8]:
        """An image (H, W, 3).

        Raises:
            TrainError: it cannot be read.
        """
        with self._lock:
            if uri in self._pixels:
                self._pixels.move_to_end(uri)
                return self._pixels[uri]
        try:
            pixels, _ = decoding.load(uri, decoding.MOST_PIXELS, bands)
        except ImageError as error:
            raise TrainError(f"{uri}: {error}; mend it or take it out of the source") from error
        with self._lock:
            if uri not in self._pixels:
                self._pixels[uri] = pixels
                self._bytes += pixels.nbytes
            while self._bytes > _CACHE_BYTES:
                self._bytes -= self._pixels.popitem(last=False)[1].nbytes
        return pixels


class StepLoader:
    """Steps from `start_step` to the end of the schedule, each a list of `schedule.accumulate` pieces on the CPU."""

    def __init__(
        self,
        labeled: TrainingRows,
        unlabeled: TrainingRows | None,
        view: WeakView,
        schedule: Schedule,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start_step: int = 0,
        loaders: int = 0,
    ) -> None:
        """Nothing is read before it is iterated.

        Args:
            labeled: rows with masks.
            unlabeled: rows of the unlabeled images; none: pieces have no such batch.
            view: geometry of every image.
            schedule: steps, global batches, pieces.
            seed: of all draws.
            rank: this worker's number, from 0.
            world: number of workers.
            start_step: updates already done.
            loaders: processes that work ahead; 0: two threads of this process.

        Raises:
            ConfigError: a global batch that workers and pieces cannot share evenly.
        """
        parts = world * schedule.accumulate
        order = EpochOrder(labeled, seed, "labeled", schedule.repeat_threshold)
        streams = [_Stream(name="labeled", rows=labeled, batch=schedule.labeled_batch, order=order)]
        if unlabeled is not None:
            order = EpochOrder(unlabeled, seed, "unlabeled")
            streams.append(_Stream(name="unlabeled", rows=unlabeled, batch=schedule.unlabeled_batch, order=order))
        problems = [
            f"schedule.{one.name}_batch is {one.batch}: {world} workers x {schedule.accumulate} pieces need a multiple"
            for one in streams
            if one.batch % parts
        ]
        if problems:
            raise ConfigError("a step's images cannot be shared evenly", tuple(problems))
        own = range(rank * schedule.accumulate, (rank + 1) * schedule.accumulate)
        self._worker = _Worker(streams=tuple(streams), own=own, parts=parts, view=view, seed=seed)
        self._steps = range(start_step, schedule.steps)
        self._loaders = loaders

    def __iter__(self) -> Iterator[list[Piece]]:
        """Steps in order.

        Raises:
            TrainError: an image that cannot be read, or is not of the size that its masks are for.
        """
        if self._loaders:
            return _by_processes(self._worker, self._steps, self._loaders)
        return _by_threads(self._worker, self._steps)


def _by_threads(worker: "_Worker", steps: range) -> Iterator[list[Piece]]:
    slots = (slot for step in steps for slot in worker.slots(step))
    ahead = _AHEAD * len(worker.slots(steps.start)) + 1
    samples = map_in_order(worker.load, slots, threads=_THREADS, ahead=ahead)
    return (worker.pieces(samples) for _ in steps)


def _by_processes(worker: "_Worker", steps: range, number: int) -> Iterator[list[Piece]]:
    loader = DataLoader(
        _Steps(worker),
        sampler=steps,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=number,
        prefetch_factor=_AHEAD,
        # A fork would copy a process that runs threads; its own generator keeps torch's global one untouched.
        multiprocessing_context="forkserver",
        generator=torch.Generator(),
    )
    for pieces in loader:
        if isinstance(pieces, TrainError):
            raise pieces
        yield pieces


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """One of the two kinds of images of a step."""

    name: str
    rows: TrainingRows
    batch: int
    """Images per step, over all workers."""
    order: EpochOrder

    def row(self, step: int, slot: int) -> TrainingRow:
        """Return the row that a slot shows."""
        return self.rows.row(self.order.row(step * self.batch + slot))


class _Slot(NamedTuple):
    """One image of one step."""

    stream: int
    step: int
    slot: int
    """Place in the stream's global batch."""


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """One worker's share of every step. Pickles small."""

    streams: tuple[_Stream, ...]
    own: range
    """This worker's parts of a step, one per piece."""
    parts: int
    """Into how many a step is cut over all workers."""
    view: WeakView
    seed: int
    _decoded: _Decoded = field(default_factory=_Decoded, repr=False)

    def slots(self, step: int) -> list[_Slot]:
        """What the worker's pieces are made of, in order."""
        return [
            _Slot(index, step, slot)
            for part in self.own
            for index, stream in enumerate(self.streams)
            for slot in range(part * stream.batch // self.parts, (part + 1) * stream.batch // self.parts)
        ]

    def load(self, slot: _Slot) -> Batch:
        """The image of a slot, as a batch of one."""
        stream = self.streams[slot.stream]
        row = stream.row(slot.step, slot.slot)
        key = keyed_random.key(self.seed, slot.step, stream.name, slot.slot)
        return sample(row, self._decoded.pixels(row.uri, stream.rows.bands), self.view, key)

    def pieces(self, samples: Iterator[Batch]) -> list[Piece]:
        """Take one step's samples, loaded as `slots` names them, and collate them to its pieces."""
        cut = [[collate(list(islice(samples, one.batch // self.parts))) for one in self.streams] for _ in self.own]
        return [(piece[0], piece[1] if len(piece) == 2 else None) for piece in cut]


class _Steps(Dataset[list[Piece] | TrainError]):
    """A worker's steps, by number; a step that cannot be had as its error, which torch would bury in traces."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker

    def __getitem__(self, step: int) -> list[Piece] | TrainError:
        try:
            return self._worker.pieces(map(self._worker.load, self._worker.slots(step)))
        except TrainError as error:
            return error


def _as_it_is(pieces: list[Piece] | TrainError) -> list[Piece] | TrainError:
    return pieces
