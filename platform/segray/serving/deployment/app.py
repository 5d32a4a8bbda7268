"""The Ray Serve application: a config bound to deployments. `serve.app:build` is this module's `build`.

Knows which setting of which deployment comes from where; nothing of HTTP or models.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from segray import job_configs
from segray.config import base
from segray.config.serve import Replicas, RequestLimits, ServeConfig
from segray.errors import ConfigError
from segray.serving.backend import RETRY_AFTER_S
from segray.serving.deployment.deployments import ClicksReplica, Load, StudentReplica
from segray.serving.deployment.ingress import Ingress, StudentIngress
from segray.serving.student import ServedStudent

SAME_COPY: Final = "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter"
SURGE_PERCENT: Final = 25
"""Copies that a rolling restart starts before it stops as many: at least one."""
STARTS: Final = 3
"""Of a copy, before it is given up: what fails is mostly a student that is not there."""
GRACE_S: Final = 5.0
"""Beyond a request's time limit, before a copy that stops is ended whatever it does."""


def build(args: Mapping[str, Any]) -> Application:
    """What `serve run serve.app:build` and a RayService call.

    `args` are the tables of a config; or {"config": PATH} of a TOML file, with "overrides", a list of key.path=value,
    if wanted. Other keys beside `config` are overrides too: `serve run serve.app:build config=FILE student.uri=FOLDER`.

    Raises:
        ConfigError: all problems of the config, or arguments that are neither.
    """
    return application(load_config(args))


def load_config(args: Mapping[str, Any]) -> ServeConfig:
    """The config that the arguments of `build` name or hold."""
    if "config" not in args:
        return base.build(ServeConfig, args, "the application's arguments")
    rest = dict(args)
    path, overrides = rest.pop("config"), rest.pop("overrides", [])
    if not isinstance(path, str) or not isinstance(overrides, list):
        raise ConfigError(
            "the application's arguments: config must be a path and overrides a list of key.path=value, got"
            f" {path!r} and {overrides!r}"
        )
    words = [*map(str, overrides), *(f"{key}={value}" for key, value in rest.items())]
    return job_configs.load_as(ServeConfig, Path(path), words)


def application(config: ServeConfig, load: Load | None = None) -> Application:
    """The deployments, bound to each other; `load` makes the student's model, `ServedStudent` if none is given."""
    home = str(Path.cwd())
    load = load or ServedStudent
    clicks = config.clicks and _deployment(
        ClicksReplica,
        "Clicks",
        config.clicks.replicas,
        config.limits,
        max_ongoing=config.clicks.max_ongoing,
        request_router_config={"request_router_class": SAME_COPY},
    ).bind(config.clicks, home)
    student: dict[str, Any] = {
        "user_config": {"student": config.student.uri},
        "target_ongoing": config.student.target_ongoing,
    }
    front: dict[str, Any] = {
        "max_ongoing": config.ingress_max_ongoing,
        "backpressure_config": BackpressureConfig(status_code=429, retry_after_s=RETRY_AFTER_S),
    }
    bound: Application
    if config.ingress is None:
        both = _deployment(
            serve.ingress()(StudentIngress), "Student", config.student.replicas, config.limits, **front, **student
        )
        bound = both.bind(config, home, load, clicks)
        return bound
    held = _deployment(
        StudentReplica,
        "Student",
        config.student.replicas,
        config.limits,
        max_ongoing=config.student.max_ongoing,
        **student,
    ).bind(config.student, home, load)
    bound = _deployment(serve.ingress()(Ingress), "Ingress", config.ingress, config.limits, **front).bind(
        config, home, held, clicks
    )
    return bound


def _deployment(
    kind: Any,
    name: str,
    replicas: Replicas,
    limits: RequestLimits,
    *,
    max_ongoing: int,
    target_ongoing: float | None = None,
    **settings: Any,
) -> Any:
    """How many copies, on what, when there are to be more, and what may wait for them."""
    if replicas.min < replicas.max:
        settings["autoscaling_config"] = AutoscalingConfig(
            min_replicas=replicas.min,
            max_replicas=replicas.max,
            target_ongoing_requests=target_ongoing or max(1, max_ongoing / 2),
            upscale_delay_s=replicas.upscale_delay_s,
            downscale_delay_s=replicas.downscale_delay_s,
        )
    else:
        settings["num_replicas"] = replicas.min
    return serve.deployment(
        kind,
        name=name,
        max_ongoing_requests=max_ongoing,
        max_queued_requests=limits.max_queued,
        max_surge_percent=SURGE_PERCENT,
        max_constructor_retry_count=STARTS,
        graceful_shutdown_timeout_s=limits.timeout_s + GRACE_S,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        **settings,
    )
