"""The label job: check everything that can be checked before the spend, then run, then say what happened."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from segray.config.base import fingerprint
from segray.config.label import StageJob
from segray.errors import LabelError
from segray.formats.store.reader import refusal
from segray.jobs.outputs import RUNS
from segray.jobs.stages import JobImages, images_of, stage_of
from segray.labels.attempts import forget
from segray.labels.committer import run_in_process
from segray.labels.first_look import LOOKED_AT, look_at
from segray.labels.pending_rows import PendingRows
from segray.labels.stages.stage import CountsInputs, Stage
from segray.labels.summary import LabelTally, PartCounts, Summary, price, summarize
from segray.nets.device import torch_threads_kept
from segray.storage import files
from segray.store import Store, StoreInfo
from segray.store.rows import image_rows
from segray.tally import EXAMPLES, Tally


@dataclass(frozen=True, kw_only=True)
class LabelProgress:
    """Where a job stands, for whoever shows it."""

    done: int
    total: int
    masks: int
    refused: int
    elapsed_s: float
    startup_s: float
    """0 until the first part is committed."""


Show = Callable[[LabelProgress], None]


def find_store(config: StageJob) -> Store:
    """The store that a config's job has left.

    Raises:
        StoreError: it has left none yet.
    """
    stage = stage_of(config)
    return Store.open(files.join(config.stores, f"{stage.name}-{fingerprint(stage.content)}"))


def prepare(config: StageJob) -> tuple[Stage, Store]:
    """The stage and its store, before any cluster work.

    Raises:
        BackendError: the weights are missing or of another architecture.
        StoreError: the stores folder cannot be used.
    """
    stage = stage_of(config)
    per_second = price(1, config.workers, config.cost) or None
    return stage, Store.create(config.stores, stage.name, stage.content, price_per_second=per_second, kind=stage.kind)


def label(config: StageJob, show: Show | None = None) -> Summary:
    """Label all images of the source that the store does not hold yet; the summary is also left in the store.

    Raises:
        DamageError, SourceError, BackendError, StoreError: before any cluster work.
        LabelError: there is nothing to label, most images fail, or the cluster failed.
    """
    images = images_of(config)
    stage, store = prepare(config)
    pending = store.missing(images.rows, retry_errors=config.retry_refused)
    with store.lease("label") as lease, PendingRows(pending) as plan:
        before = store.info()
        images.coco_ids.write(store.uri)
        _look(config, images, plan, is_new=not before.images)
        if config.retry_refused:
            forget(store.uri)
        if plan.number == 0 and before.images == 0:
            raise LabelError(f"no images in {images.where}: give a source that holds some")
        chosen = plan.sample(config.sample, config.seed) if config.sample else None
        todo = len(chosen) if chosen is not None else plan.number
        parts = plan.parts(_rows_per_part(config, todo), chosen)

        def show_progress(at: LabelProgress) -> None:
            lease.check()
            if show is not None:
                show(at)

        summary = _run(config, stage, store, parts, before=before, pending=plan.number, todo=todo, show=show_progress)
    _count_images(images.tally, summary, store)
    read = dict(stage.tallies) if isinstance(stage, CountsInputs) else {}
    summary = replace(summary, tallies={"images": images.tally, **read, **summary.tallies})
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ.json")
    files.write_bytes_atomic(files.join(store.uri, RUNS, name), json.dumps(summary.to_json(), indent=1).encode())
    return summary


def _run(
    config: StageJob,
    stage: Stage,
    store: Store,
    parts: Iterator[pa.Table],
    *,
    before: StoreInfo,
    pending: int,
    todo: int,
    show: Show,
) -> Summary:
    """Runs the stage, counting, showing, and stopping at the budget."""
    began, startup_s, elapsed_s, tally = time.monotonic(), 0.0, 0.0, LabelTally()
    outcome = "sample" if config.sample else "complete"
    if todo and _over_budget(config, before.seconds):
        outcome = "budget"
    elif todo:
        with _committed(config, stage, store, parts) as committed:
            for part in committed:
                elapsed_s = time.monotonic() - began
                startup_s = startup_s or max(0.0, elapsed_s - part.seconds)
                tally.add(part)
                tally.check()
                show(_progress(tally, todo, elapsed_s, startup_s))
                if _over_budget(config, before.seconds + tally.seconds):
                    outcome = "budget"
                    break
    return summarize(
        tally,
        store=store.uri,
        outcome=outcome if tally.images < pending else "complete",
        known=before.images,
        remaining=pending - tally.images,
        startup_s=startup_s,
        wall_s=elapsed_s,
        store_refused_share=_refused_share(store.info() if tally.images else before),
        workers=config.workers,
        cost=config.cost,
    )


def _look(config: StageJob, images: JobImages, plan: PendingRows, *, is_new: bool) -> None:
    """See that no more is damaged than allowed: of the files, and of a few images where nothing is labeled yet.

    Raises:
        DamageError: more is.
    """
    images.tally.check(config.max_damaged, images.where)
    if config.sample or isinstance(config.images, str) or not is_new:
        return
    for part in plan.parts(LOOKED_AT, plan.sample(LOOKED_AT, config.seed)):
        look_at(
            image_rows(part),
            limits=config.limits,
            max_damaged=config.max_damaged,
            where=images.where,
        )


def _count_images(tally: Tally, summary: Summary, store: Store) -> None:
    """Count the images that the run labeled and refused; examples are any of the store's."""
    left = Counter(summary.refused)
    tally.use("images", summary.images - left.total())
    columns = ["image_id", "error"]
    for batch in store.rows(columns) if left else ():
        for image_id, error in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
            if left[error] > 0 and summary.refused[error] - left[error] < EXAMPLES:
                tally.leave_out("images", refusal(error), image_id)
                left[error] -= 1
    for error, number in left.items():
        tally.leave_out("images", refusal(error), number=number)


def _rows_per_part(config: StageJob, todo: int) -> int:
    if config.workers.in_process:
        # The same number every time: a part that ended the process is found again by its images.
        return config.workers.images_per_part
    from segray.labels.runner import rows_per_part

    return rows_per_part(todo, config.workers)


@contextmanager
def _committed(
    config: StageJob, stage: Stage, store: Store, parts: Iterator[pa.Table]
) -> Iterator[Iterator[PartCounts]]:
    """Give the counts of parts as they are committed, in this process or on Ray."""
    if config.workers.in_process:
        with torch_threads_kept(), closing(run_in_process(stage, store, parts)) as committed:
            yield committed
        return
    from segray.jobs.cluster import connected
    from segray.labels import runner

    with connected(), closing(runner.run(stage, store, parts, config.workers)) as committed:
        yield committed


def _over_budget(config: StageJob, actor_s: float) -> bool:
    """Whether all work on this store so far has cost what it may; a killed run's part is counted too."""
    return config.cost.budget is not None and price(actor_s, config.workers, config.cost) >= config.cost.budget


def _refused_share(info: StoreInfo) -> float:
    return sum(info.refused.values()) / info.images if info.images else 0.0


def _progress(tally: LabelTally, todo: int, elapsed_s: float, startup_s: float) -> LabelProgress:
    return LabelProgress(
        done=tally.images,
        total=todo,
        masks=tally.masks,
        refused=sum(tally.refused.values()),
        elapsed_s=elapsed_s,
        startup_s=startup_s,
    )
