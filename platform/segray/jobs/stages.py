"""From the config of a job that labels to its stage and its images."""

from collections.abc import Callable, Iterator
from pkgutil import resolve_name
from typing import NamedTuple

from segray.config.label import StageJob
from segray.formats.coco.ids import CocoIds, coco_ids_of
from segray.formats.registry import open_source
from segray.formats.source import Source
from segray.job_configs import LABEL_JOBS
from segray.labels.stages.stage import Stage
from segray.store import Store
from segray.store.rows import ImageRow, image_rows
from segray.tally import Tally


def stage_of(config: StageJob) -> Stage:
    """Return the stage that a config describes; a model that the stage trains first is trained here.

    Raises:
        BackendError: the weights are missing or have a different architecture.
        SourceError, StoreError, LabelError: what the stage builds on cannot be used.
    """
    make: Callable[[StageJob], Stage] = resolve_name(LABEL_JOBS[config.job].stage_of)
    if not config.trains_first or config.workers.in_process or not config.workers.gpus:
        return make(config)
    import ray

    return _by_task(make, config) if ray.is_initialized() else make(config)


def _by_task(make: Callable[[StageJob], Stage], config: StageJob) -> Stage:
    """Make the stage where there is a GPU, which is free for the actors again once the model is trained."""
    import ray

    task = ray.remote(num_cpus=config.workers.cpus, num_gpus=config.workers.gpus)(make)
    try:
        found: Stage = ray.get(task.remote(config))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    return found


class JobImages(NamedTuple):
    """The images that a job labels."""

    where: str
    """Where they are, for people."""
    rows: Iterator[ImageRow]
    tally: Tally
    """What their source leaves out, once all rows were gone through."""
    coco_ids: CocoIds
    """Numbers of the COCO file that they come from."""


def images_of(config: StageJob) -> JobImages:
    """Return a job's images; those of an earlier store are what it holds.

    Raises:
        SourceError: the source cannot be read.
        StoreError: there is no such store.
    """
    if isinstance(config.images, str):
        return JobImages(config.images, _images_in(Store.open(config.images)), Tally(), CocoIds.read(config.images))
    source = open_source(config.images)
    if own := LABEL_JOBS[config.job].images_of:
        yield_images: Callable[[Source], Iterator[ImageRow]] = resolve_name(own)
        return JobImages(config.images.uri, yield_images(source), source.tally, coco_ids_of(source))
    return JobImages(config.images.uri, source.rows(), source.tally, coco_ids_of(source))


def _images_in(store: Store) -> Iterator[ImageRow]:
    for batch in store.rows(["image_id", "uri", "version"]):
        yield from image_rows(batch)
