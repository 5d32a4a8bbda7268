"""The label job: check everything that can be checked before the spend, then run, then say what happened."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from segray.config.label import LabelConfig
from segray.data import files
from segray.data.sources import open_source
from segray.data.store import Store
from segray.errors import LabelError
from segray.jobs.cluster import connected
from segray.jobs.outputs import RUNS
from segray.labels import runner
from segray.labels.plan import Plan
from segray.labels.segment import SegmentEverything
from segray.labels.summary import Summary, Tally, summarize
from segray.sam.build import describe


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a job stands, for whoever shows it."""

    done: int
    total: int
    masks: int
    refused: int
    elapsed_s: float
    startup_s: float
    """0 until the first part is committed."""


Show = Callable[[Progress], None]


def prepare(config: LabelConfig) -> tuple[SegmentEverything, Store]:
    """The stage and its store, before any cluster work.

    Raises:
        BackendError: the weights are missing or of another architecture.
        StoreError: the stores folder cannot be used.
    """
    stage = SegmentEverything(config=config, weights_hash=describe(config.sam).weights_hash)
    price = (config.workers.gpus or 1) * config.cost.per_gpu_hour / 3600 if config.cost.per_gpu_hour else None
    return stage, Store.create(config.stores, stage.name, stage.content, price_per_second=price)


def label(config: LabelConfig, show: Show | None = None) -> Summary:
    """Label all images of the source that the store does not hold yet; the summary is also left in the store.

    Raises:
        SourceError, BackendError, StoreError: before any cluster work.
        LabelError: there is nothing to label, or the cluster failed.
    """
    stage, store = prepare(config)
    source = open_source(config.source)
    with store.lease("label") as lease, Plan(store.missing(source.rows(), retry_errors=config.retry_refused)) as plan:
        known = store.info().images
        if plan.number == 0 and known == 0:
            raise LabelError(f"no images in {config.source.uri}: give a source that holds some")
        chosen = plan.sample(config.sample, config.seed) if config.sample else None
        todo = len(chosen) if chosen is not None else plan.number
        parts = plan.parts(runner.rows_per_part(todo, config.workers), chosen)

        def told(at: Progress) -> None:
            lease.check()
            if show is not None:
                show(at)

        summary = _run(config, stage, store, parts, known=known, pending=plan.number, todo=todo, show=told)
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ.json")
    files.write_bytes_atomic(files.join(store.uri, RUNS, name), json.dumps(summary.to_json(), indent=1).encode())
    return summary


def _run(
    config: LabelConfig,
    stage: SegmentEverything,
    store: Store,
    parts: Iterator[pa.Table],
    *,
    known: int,
    pending: int,
    todo: int,
    show: Show,
) -> Summary:
    """Runs the stage, counting, showing, and stopping at the budget."""
    began, startup_s, tally = time.monotonic(), 0.0, Tally()
    outcome = "sample" if config.sample else "complete"
    if todo:
        with connected(), closing(runner.run(stage, store, parts, config.workers)) as committed:
            for part in committed:
                elapsed_s = time.monotonic() - began
                startup_s = startup_s or max(0.0, elapsed_s - part.seconds)
                tally.add(part)
                show(_progress(tally, todo, elapsed_s, startup_s))
                if config.cost.budget is not None and tally.spent(config.workers, config.cost) >= config.cost.budget:
                    outcome = "budget"
                    break
    return summarize(
        tally,
        store=store.uri,
        outcome=outcome if tally.images < pending else "complete",
        known=known,
        remaining=pending - tally.images,
        startup_s=startup_s,
        wall_s=time.monotonic() - began,
        workers=config.workers,
        cost=config.cost,
    )


def _progress(tally: Tally, todo: int, elapsed_s: float, startup_s: float) -> Progress:
    return Progress(
        done=tally.images,
        total=todo,
        masks=tally.masks,
        refused=sum(tally.refused.values()),
        elapsed_s=elapsed_s,
        startup_s=startup_s,
    )
