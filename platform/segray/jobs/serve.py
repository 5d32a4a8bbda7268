"""The serve job: the endpoint of a config on the connected Ray, or on one of its own, until it is told to stop."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Final

import ray
from ray import serve

from segray.config.serve import LOOPBACK, KeyFile, Replicas, ServeConfig
from segray.errors import ClusterError
from segray.jobs.cluster import connected
from segray.jobs.endpoint.isolation import endpoint_port, environment, isolated
from segray.models.build import load_student
from segray.models.promotion import resolve_student
from segray.serving.deployment.app import application
from segray.serving.deployment.deployments import Load
from segray.serving.http.keys import Keyring

NAME: Final = "segray"
"""The application's name within Ray Serve."""
FLAGS: Final = {
    # HAProxy, which comes with ray[serve], in place of Ray's own proxy: see docs/benchmarks.md.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # How long a copy that stops goes on taking requests, in seconds; on one machine the proxy hears of it at once.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # A machine that is busy starting copies answers late: its proxy is not to be ended for it.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}
"""What Ray Serve reads from the environment, of a Ray of our own; a cluster's pods have theirs set."""


@contextmanager
def serving(config: ServeConfig, load: Load | None = None) -> Iterator[str]:
    """The endpoint for the time of the `with`, ready to answer; its address.

    Requests that are under way at its end are answered. `load` makes the student's model, for benchmarks.

    Raises:
        ConfigError, BackendError, TrainError: the key file or the student is not there, where Ray is our own.
        ClusterError: the port is taken, the machine is too small, or a copy cannot start.
    """
    own = "RAY_ADDRESS" not in os.environ and not ray.is_initialized()
    port = config.port
    if own:
        _look(config)
        port = endpoint_port(config.host, config.port)
    with _alone() if own else nullcontext(), connected():
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        if own:
            require_room(config, ray.cluster_resources())  # type: ignore[no-untyped-call]  # Ray types half of itself
        serve.start(http_options={"host": config.host, "port": port, "request_timeout_s": config.limits.timeout_s + 5})
        try:
            _run(config, load)
            yield f"http://{_shown(config.host)}:{port}"
        finally:
            # Copies end what they began; of a Ray of our own the rest ends with it.
            serve.delete(NAME)


@contextmanager
def _alone() -> Iterator[None]:
    with environment(FLAGS), isolated():
        yield


def _look(config: ServeConfig) -> None:
    """See that what copies would fail for again and again is there, and that the student can be loaded."""
    load_student(resolve_student(config.student.uri))
    if isinstance(config.keys, KeyFile):
        Keyring(config.keys.path)


def _run(config: ServeConfig, load: Load | None) -> None:
    try:
        serve.run(application(config, load), name=NAME)
    except RuntimeError as error:
        raise ClusterError(f"the endpoint cannot start: {str(error).strip()}") from error


def require_room(config: ServeConfig, there: Mapping[str, float]) -> None:
    """See that the least number of copies fits a Ray that cannot grow: they would wait for ever.

    Raises:
        ClusterError: they do not; `there` are its resources by Ray's names.
    """
    for what, resource in (("cpus", "CPU"), ("gpus", "GPU")):
        needed = {name: _share(replicas, what) for name, replicas in config.copies.items()}
        if sum(needed.values()) > there.get(resource, 0):
            asked = ", ".join(f"{name} {number:g}" for name, number in needed.items() if number)
            raise ClusterError(
                f"the copies need {sum(needed.values()):g} {resource}s ({asked}), this machine has"
                f" {there.get(resource, 0):g}: lower their {what}"
            )


def _share(replicas: Replicas, what: str) -> float:
    return float(replicas.min * getattr(replicas, what))


def _shown(host: str) -> str:
    """An address that a browser on this machine can open."""
    return "127.0.0.1" if host not in LOOPBACK else f"[{host}]" if ":" in host else host
