"""A run on Ray Train: as many workers as the config says, each with the same session. Only this module knows Ray."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import ray
import ray.train
import torch
from ray.exceptions import RayError
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from segray.config.train import TrainWorkers
from segray.errors import ClusterError, SegrayError, TrainError
from segray.storage import files
from segray.training.distributed import WorkerGroup
from segray.training.meters import TrainMeters
from segray.training.session import RunJob, run_worker

log = logging.getLogger(__name__)


def run_on_ray(job: RunJob) -> None:
    """Train on the connected cluster until the run is finished; restarts as the config allows.

    Raises:
        TrainError: a worker failed, with what it said.
        ClusterError: this machine is too small for the workers.
        KeyboardInterrupt: ctrl-C, once the workers have stopped.
    """
    workers = job.config.workers
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=cast(
                int, (workers.min_workers, workers.num_workers) if workers.min_workers else workers.num_workers
            ),
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})},
        ),
        run_config=_settings(job),
    )
    _look_for_room(workers)
    try:
        with _interrupts():
            trainer.fit()
    except TrainingFailedError as error:
        raise _told(error) from error


def _look_for_room(workers: TrainWorkers) -> None:
    """See that the fewest workers that will do have what they reserve: Ray Train waits for it, and says nothing.

    Raises:
        ClusterError: they do not, and this Ray is of one machine, which will not grow.
    """
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray types half of itself
    least = workers.min_workers or workers.num_workers
    short = [
        f"{least} workers need {least * each:g} {resource}s, there are {there.get(resource, 0):g}"
        for resource, each in (("CPU", workers.cpus), ("GPU", workers.gpus))
        if least * each > there.get(resource, 0)
    ]
    if not short:
        return
    if "RAY_ADDRESS" not in os.environ:
        raise ClusterError(f"{'; '.join(short)}: give fewer workers, or fewer to each")
    log.warning("waiting for the cluster to grow: %s", "; ".join(short))


@contextmanager
def _interrupts() -> Iterator[None]:
    """Ctrl-C as everywhere: Ray Train sets a handler of its own, which ends the process and stays."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _settings(job: RunJob) -> RunConfig:
    # The stubs are of Ray Train's first version, which knew fewer fields.
    settings: dict[str, Any] = {
        # Checkpoints are the run's own, so Ray's name for the attempt must only be a new one.
        "name": f"{job.folder.name}-{time.time_ns()}",
        "storage_path": files.absolute(files.join(job.folder.uri, "ray")),
        "failure_config": _failures(job.config.workers),
        "logging_config": LoggingConfig(log_level="ERROR"),
    }
    return RunConfig(**settings)


def _failures(workers: TrainWorkers) -> FailureConfig:
    settings: dict[str, Any] = {
        "max_failures": workers.max_failures,
        "max_preemption_failures": workers.max_preemption_failures,
        "preemption_grace_s": workers.preemption_grace_s,
        "relax_collectives_on_preemption": workers.preemption_grace_s > 0,
    }
    return FailureConfig(**settings)


def _worker(config: dict[str, RunJob]) -> None:
    """What Ray Train runs on each worker."""
    context = ray.train.get_context()
    job = config["job"]
    if Path(job.home).is_dir():
        # Ray Train puts each worker into a folder of its own, where no relative path of the config leads anywhere.
        os.chdir(job.home)
    device = torch.device("cuda") if job.config.workers.gpus else torch.device("cpu")
    if device.type == "cuda":
        device = ray.train.torch.get_device()
    run_worker(
        job,
        WorkerGroup(
            device=device,
            rank=context.get_world_rank(),
            world=context.get_world_size(),
            leaving=lambda: ray.train.get_preemption_info() is not None,
            report=_report,
            observe=TrainMeters(job.folder.name).observe,
        ),
    )


def _report(values: Mapping[str, float]) -> None:
    ray.train.report(dict(values))


def _told(error: TrainingFailedError) -> SegrayError:
    """What a worker raised on purpose, or the first failure's last line."""
    failures = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        cause: BaseException | None = failure
        while cause is not None:
            # Ray's own is of our class too, and says a page of traces.
            if isinstance(cause, SegrayError) and not isinstance(cause, RayError):
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    first = str(failures[0] if failures else error).strip().splitlines()
    return TrainError(f"a training worker failed: {first[-1] if first else 'no message'}")
