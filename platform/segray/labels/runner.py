"""Runs a stage over pending images on Ray Data: a pool of actors, each committing its own parts to the store.

Knows stages and stores, no method. What travels between processes is small: rows of URIs to the actors, counts back.
"""

import re
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import asdict
from itertools import islice
from typing import cast

import pyarrow as pa
import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError

from segray.config.label import LabelWorkers
from segray.errors import LabelError
from segray.labels.attempts import forget
from segray.labels.committer import PartCommitter
from segray.labels.meters import LabelMeters
from segray.labels.stages.stage import Stage
from segray.labels.summary import PartCounts
from segray.storage import files
from segray.store import Store

WAVE = 20_000
"""Parts given to Ray Data at once: their rows lie in the object store while they wait."""
PARTS_PER_ACTOR = 16
"""A small job is cut finer than the config asks, into about this many parts per actor, so that all have work."""

_OURS = re.compile(r"^segray\.errors\.\w+: (.+)$", re.MULTILINE)

COUNTS = pa.schema(
    [
        pa.field("images", pa.int64()),
        pa.field("masks", pa.int64()),
        pa.field("refused", pa.list_(pa.string())),
        pa.field("seconds", pa.float64()),
        pa.field("squares", pa.float64()),
    ]
)


class Committer:
    """Ray Data's callable class, one per actor: commits parts and answers with counts."""

    def __init__(self, stage: Stage, store_uri: str) -> None:
        self.parts = PartCommitter(stage, Store.open(store_uri))
        self.meters = LabelMeters(files.name(store_uri))

    def __call__(self, part: pa.Table) -> pa.Table:
        """Take `SOURCE` rows; return one `COUNTS` row once the part's masks are committed."""
        counts = self.parts.commit(part)
        refused = list(Counter(counts.refused).elements())
        self.meters.committed(images=counts.images, masks=counts.masks, refused=refused, seconds=counts.seconds)
        return pa.Table.from_pylist([{**asdict(counts), "refused": refused}], COUNTS)


def rows_per_part(pending: int, workers: LabelWorkers) -> int:
    """Images to a part: the config's number, fewer where that would leave actors idle."""
    return max(1, min(workers.images_per_part, pending // (workers.most_workers * PARTS_PER_ACTOR)))


def run(
    stage: Stage, store: Store, parts: Iterable[pa.Table], workers: LabelWorkers
) -> Generator[PartCounts, None, None]:
    """Label the parts; yields each one's counts as it is committed. Closing the iterator ends the work cleanly.

    Ray must be running. Actors that die are started again and their part is done again, without an image that ends its
    process each time (see `labels.attempts`).

    Raises:
        LabelError: an actor failed in a way that doing it again does not mend.
        StoreError: the store cannot be written.
    """
    forget(store.uri)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # Waiting for machines is no fault of the job's: Ray would end it after half an hour.
    context.execution_no_progress_timeout_s = workers.wait_for_cluster_s or -1
    parts = iter(parts)
    while wave := list(islice(parts, WAVE)):
        dataset = ray.data.from_arrow(wave).map_batches(
            Committer,
            fn_constructor_kwargs={"stage": stage, "store_uri": store.uri},
            batch_size=None,
            batch_format="pyarrow",
            compute=_pool(workers),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            memory=workers.memory_gib * 2**30 if workers.memory_gib else None,
        )
        try:
            for counts in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in cast(pa.Table, counts).to_pylist():
                    yield PartCounts(**row | {"refused": Counter(row["refused"])})
        except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
            raise LabelError(
                f"the label job stopped; what was committed stays, run it again to go on: {_why(error)}"
            ) from error


def _why(error: BaseException) -> str:
    """What an error of ours says, which Ray keeps as a line of text among its traces; else Ray's own words."""
    ours = _OURS.findall(str(error))
    return ours[-1] if ours else str(error)


def _pool(workers: LabelWorkers) -> ray.data.ActorPoolStrategy:
    if workers.num_workers is not None:
        return ray.data.ActorPoolStrategy(size=workers.num_workers)
    return ray.data.ActorPoolStrategy(min_size=workers.min_workers, max_size=workers.max_workers)
