"""From the config of a job that labels to its stage and its images. Knows which stage belongs to which kind of job."""

from collections.abc import Iterator
from typing import assert_never

import ray

from segray.config.label import LabelConfig
from segray.config.stages import CamConfig, ClassifyConfig, VoteConfig
from segray.formats.sources import open_source
from segray.job_configs import LabelJob
from segray.labels.stages import classify
from segray.labels.stages.segment import SegmentEverything
from segray.labels.stages.stage import Stage
from segray.methods.sepl import cam_stage, vote_stage
from segray.sam.build import describe
from segray.store import Store
from segray.store.rows import ImageRow, image_rows


def stage_of(config: LabelJob) -> Stage:
    """The stage that a config describes. A cam job's classifier is trained here where it is not there yet.

    Raises:
        BackendError: the weights are missing or of another architecture.
        SourceError, StoreError, LabelError: what the stage builds on cannot be used.
    """
    match config:
        case LabelConfig():
            return SegmentEverything(config=config, weights_hash=describe(config.sam).weights_hash)
        case ClassifyConfig():
            return classify.stage_of(config, Store.open(config.masks).manifest.fingerprint)
        case CamConfig():
            return _by_a_task(config) if config.workers.gpus and ray.is_initialized() else cam_stage.stage_of(config)
        case VoteConfig():
            return vote_stage.stage_of(config, Store.open(config.masks).manifest.fingerprint)
        case _:
            assert_never(config)


def _by_a_task(config: CamConfig) -> Stage:
    """`cam.stage_of` where there is a GPU, which is free again for the actors when the classifier is trained."""
    task = ray.remote(num_cpus=config.workers.cpus, num_gpus=config.workers.gpus)(cam_stage.stage_of)
    try:
        found: Stage = ray.get(task.remote(config))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    return found


def images_of(config: LabelJob) -> tuple[str, Iterator[ImageRow]]:
    """Where a job's images are, for people, and the images; those of a store of masks are what it holds.

    Raises:
        SourceError: the source cannot be read.
        StoreError: there is no such store.
    """
    if isinstance(config, LabelConfig | CamConfig):
        return config.source.uri, open_source(config.source).rows()
    return config.masks, _images_in(Store.open(config.masks))


def _images_in(store: Store) -> Iterator[ImageRow]:
    for batch in store.rows(["image_id", "uri", "version"]):
        yield from image_rows(batch)
