"""Runs a stage over pending images on Ray Data: a pool of actors, each committing its own parts to the store.

Knows stages and stores, no method. What travels between processes is small: rows of URIs to the actors, counts back.
A worker that cannot do a part gives it back, and the part is done by another one.
"""

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Final, TypeVar, cast

import pyarrow as pa
import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError

from segray.config.label import LabelWorkers
from segray.errors import DeviceError, LabelError, first_line
from segray.labels.attempts import PartGivenBackError, carry_over, forget, part_key
from segray.labels.committer import PartCommitter
from segray.labels.meters import LabelMeters
from segray.labels.stages.stage import Stage
from segray.labels.summary import PartCounts
from segray.storage import files
from segray.store import Store
from segray.store.rows import image_rows

log = logging.getLogger(__name__)

WAVE = 20_000
"""Parts given to Ray Data at once: their rows lie in the object store while they wait."""
PARTS_PER_ACTOR = 16
"""A small job is cut finer than the config asks, into about this many parts per actor, so that all have work."""

START_WAITS_S: Final = (1.0, 5.0)
"""Pauses between tries to load a stage's models: a store or a hub may be away for a moment."""
LONGEST_PAUSE_S: Final = 60.0
"""Longest pause between two parts that a worker gives back, so that it does not take them from workers that work."""
MAX_GIVEN_BACK: Final = 30
"""Parts given back for each worker that gives back, without one commit by anybody, after which the job stops."""

_OURS = re.compile(r"^segray\.errors\.\w+: (.+)$", re.MULTILINE)

COUNTS = pa.schema(
    [
        pa.field("images", pa.int64()),
        pa.field("masks", pa.int64()),
        pa.field("refused", pa.list_(pa.string())),
        pa.field("left_out", pa.list_(pa.string())),
        pa.field("for_review", pa.list_(pa.string())),
        pa.field("seconds", pa.float64()),
        pa.field("squares", pa.float64()),
        pa.field("worker", pa.string()),
        pa.field("part", pa.string()),
        pa.field("given_back", pa.string()),
    ]
)
"""One row for each part. `given_back` says why a worker could not do it; null once the part is committed."""
REASONS: Final = ("refused", "left_out", "for_review")
"""Columns that count by reason: a text for each thing counted."""


class Committer:
    """Ray Data's callable class, one per actor: commits parts and answers with counts, or gives parts back.

    Never raises while it starts: Ray Data ends a job when a restarted actor does.
    """

    def __init__(self, stage: Stage, store_uri: str, earlier: Mapping[str, int]) -> None:
        self.worker = ray.get_runtime_context().get_actor_id() or ""
        self.meters = LabelMeters(files.name(store_uri))
        self.cannot_start, self.pause_s = "", 1.0
        try:
            self.parts = _retried(lambda: PartCommitter(stage, Store.open(store_uri), earlier))
        except Exception as error:
            self.cannot_start = f"a worker cannot start: {type(error).__name__}: {first_line(error)}"
            log.exception("this worker gives all parts back")

    def __call__(self, part: pa.Table) -> pa.Table:
        """Take `SOURCE` rows; return one `COUNTS` row once the part's masks are committed or the part is given back."""
        if self.cannot_start:
            time.sleep(self.pause_s)
            self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)
            return self._given_back(part, self.cannot_start)
        try:
            counts = self.parts.commit(part)
        except DeviceError:
            # Ray starts the actor anew, where there is room, with a device context of its own.
            log.exception("this process ends, since its device is broken")
            os._exit(1)
        except PartGivenBackError as error:
            return self._given_back(part, str(error))
        reasons = {name: list(Counter(getattr(counts, name)).elements()) for name in REASONS}
        refused = reasons["refused"]
        self.meters.committed(images=counts.images, masks=counts.masks, refused=refused, seconds=counts.seconds)
        row = {**asdict(counts), **reasons, "worker": self.worker}
        return pa.Table.from_pylist([row], COUNTS)

    def _given_back(self, part: pa.Table, why: str) -> pa.Table:
        row = {"worker": self.worker, "part": part_key(image_rows(part)), "given_back": why}
        return pa.Table.from_pylist([row], COUNTS)


_Made = TypeVar("_Made")


def _retried(make: Callable[[], _Made]) -> _Made:
    """Return what `make` returns; try again after pauses where it raises."""
    for wait_s in START_WAITS_S:
        try:
            return make()
        except Exception:
            log.warning("cannot start; trying again in %g s", wait_s, exc_info=True)
            time.sleep(wait_s)
    return make()


class GivenBack:
    """Parts that workers gave back in one pass over some parts, and when that is too many."""

    def __init__(self, most_workers: int) -> None:
        self.most_workers = most_workers
        self.keys: set[str] = set()
        self.reason = ""
        self._workers: set[str] = set()
        self._since_commit = 0
        self._committed = False

    def committed(self) -> None:
        """Note that some worker works."""
        self._committed = True
        self._workers.clear()
        self._since_commit = 0

    def add(self, key: str, worker: str, reason: str) -> None:
        """Note a part to be done again.

        Raises:
            LabelError: no worker seems to work.
        """
        self.keys.add(key)
        self.reason = reason
        self._workers.add(worker)
        self._since_commit += 1
        if len(self._workers) >= self.most_workers or self._since_commit > MAX_GIVEN_BACK * len(self._workers):
            self._stop()

    def remaining(self, parts: Sequence[pa.Table]) -> list[pa.Table]:
        """Return the parts to be done again.

        Raises:
            LabelError: a whole pass over the parts has committed none.
        """
        if self.keys and not self._committed:
            self._stop()
        return [part for part in parts if part_key(image_rows(part)) in self.keys] if self.keys else []

    def _stop(self) -> None:
        raise LabelError(f"the label job stopped, since no worker can do its parts: {self.reason}")


def rows_per_part(pending: int, workers: LabelWorkers) -> int:
    """Images to a part: the config's number, fewer where that would leave actors idle."""
    return max(1, min(workers.images_per_part, pending // (workers.most_workers * PARTS_PER_ACTOR)))


def run(
    stage: Stage, store: Store, parts: Iterable[pa.Table], workers: LabelWorkers
) -> Generator[PartCounts, None, None]:
    """Label the parts; yields each one's counts as it is committed. Closing the iterator ends the work cleanly.

    Ray must be running. Actors that die are started again and their part is done again, without an image that ends its
    process each time (see `labels.attempts`); parts that a worker gives back are done by another one.

    Raises:
        LabelError: doing it again does not help: no worker can start, or process after process ends.
        StoreError: the store cannot be written.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # Waiting for machines is no fault of the job's: Ray would end it after half an hour.
    context.execution_no_progress_timeout_s = workers.wait_for_cluster_s or -1
    earlier, parts = carry_over(store.uri, blame_last=False), iter(parts)
    while wave := list(islice(parts, WAVE)):
        while wave:
            wave = yield from _pass(stage, store, wave, workers, earlier)
    forget(store.uri)


def _pass(
    stage: Stage, store: Store, parts: Sequence[pa.Table], workers: LabelWorkers, earlier: Mapping[str, int]
) -> Generator[PartCounts, None, list[pa.Table]]:
    """Give each part to a worker once; yield the counts of those committed, return those given back."""
    dataset = ray.data.from_arrow(list(parts)).map_batches(
        Committer,
        fn_constructor_kwargs={"stage": stage, "store_uri": store.uri, "earlier": earlier},
        batch_size=None,
        batch_format="pyarrow",
        compute=_pool(workers),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus,
        memory=workers.memory_gib * 2**30 if workers.memory_gib else None,
    )
    given_back = GivenBack(workers.most_workers)
    try:
        for counts in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in cast(pa.Table, counts).to_pylist():
                worker, part, why = row.pop("worker"), row.pop("part"), row.pop("given_back")
                if why is not None:
                    log.warning("a part was given back: %s", why)
                    given_back.add(part, worker, why)
                    continue
                given_back.committed()
                yield PartCounts(**row | {name: Counter(row[name]) for name in REASONS})
    except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
        raise LabelError(
            f"the label job stopped; what was committed stays, run it again to go on: {_why(error)}"
        ) from error
    return given_back.remaining(parts)


def _why(error: BaseException) -> str:
    """What an error of ours says, which Ray keeps as a line of text among its traces; else Ray's own words."""
    ours = _OURS.findall(str(error))
    return ours[-1] if ours else str(error)


def _pool(workers: LabelWorkers) -> ray.data.ActorPoolStrategy:
    if workers.num_workers is not None:
        return ray.data.ActorPoolStrategy(size=workers.num_workers)
    return ray.data.ActorPoolStrategy(min_size=workers.min_workers, max_size=workers.max_workers)
