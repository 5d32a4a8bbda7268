"""Whether jobs and services lead to something that runs: modules that exist, configs that load and fit the cluster."""

import importlib
import importlib.util
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from k8s.check.objects import Object, name, of_kind, pods, ray_cluster
from k8s.check.serve_config import deploy_schema
from segray.config.serve import KeyFile, NoKeys, ServeConfig
from segray.errors import ConfigError
from segray.job_configs import Job, load
from segray.jobs.kubernetes.pools import PodGroup, pools_of, room_problems
from segray.jobs.serve import FLAGS

Configs = dict[str, dict[str, str]]
"""The files of each config map."""


def job_problems(objects: Sequence[Object], beside: Sequence[Object] = ()) -> list[str]:
    """What would only show once jobs and services run."""
    configs: Configs = {each["metadata"]["name"]: each["data"] for each in of_kind([*objects, *beside], "ConfigMap")}
    problems = []
    for thing in of_kind(objects, "RayJob"):
        problems += [f"{name(thing)}: {each}" for each in _job(thing, configs)]
    for thing in of_kind(objects, "RayService"):
        problems += [f"{name(thing)}: {each}" for each in _service(thing, configs)]
    return problems


def _job(thing: Object, configs: Configs) -> Iterator[str]:
    match shlex.split(thing["spec"]["entrypoint"]):
        case ["python", "-m", module, config, *overrides]:
            if importlib.util.find_spec(module) is None:
                yield f"entrypoint: there is no module {module}"
                return
            try:
                job = _load(thing, config, configs, overrides)
            except ConfigError as error:
                yield f"entrypoint: {error} {'; '.join(error.problems)}"
                return
            if module != f"jobs.{job.job}":
                yield f"entrypoint: {module} with a config of a {job.job} job"
            yield from _fits(job, thing)
        case words:
            yield f"entrypoint is not `python -m MODULE CONFIG`: {words}"


def _service(thing: Object, configs: Configs) -> Iterator[str]:
    for application in deploy_schema(thing).applications:
        module, _, attribute = application.import_path.partition(":")
        build = getattr(importlib.import_module(module), attribute, None)
        if build is None:
            yield f"serveConfigV2: {module} has no {attribute}"
            continue
        try:
            config = _load(thing, application.args["config"], configs, application.args.get("overrides", []))
        except ConfigError as error:
            yield f"serveConfigV2: {error} {'; '.join(error.problems)}"
            continue
        assert isinstance(config, ServeConfig)
        built = deployments(build, _text(thing, application.args["config"], configs))
        yield from (
            f"serveConfigV2: the application has no deployment {each.name}, it has {', '.join(sorted(built))}"
            for each in application.deployments
            if each.name not in built
        )
        if isinstance(config.keys, NoKeys) and not config.keys.exposed:
            yield "keys are off, and a RayService listens on the network: give a key file, or say keys.exposed = true"
        if isinstance(config.keys, KeyFile) and not _mounted(thing, config.keys.path):
            yield f"the keys' file {config.keys.path} is mounted in no or not in all worker groups"
        yield from _fits(config, thing)
    yield from _proxied(thing)


def _proxied(thing: Object) -> Iterator[str]:
    """Pods whose Ray Serve would run otherwise than `segray serve` has it."""
    for pod in pods([thing]):
        given = {each["name"]: each.get("value") for each in pod.spec["containers"][0].get("env", [])}
        if given.get("RAY_SERVE_ENABLE_HA_PROXY") != FLAGS["RAY_SERVE_ENABLE_HA_PROXY"]:
            yield f"{pod.where}: RAY_SERVE_ENABLE_HA_PROXY is not as `segray serve` sets it"


def deployments(build: Any, config: str) -> set[str]:
    """Names of the deployments that an application builder makes of a config's text."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(config)
        file.flush()
        root = build({"config": file.name})._bound_deployment
    found, waiting = set(), [root]
    while waiting:
        deployment = waiting.pop()
        found.add(deployment.name)
        arguments = (*deployment.init_args, *deployment.init_kwargs.values())
        waiting += [each._bound_deployment for each in arguments if hasattr(each, "_bound_deployment")]
    return found


def _load(thing: Object, path: str, configs: Configs, overrides: Sequence[str]) -> Job:
    """The config that a path means in the pods.

    Raises:
        ConfigError: no file is mounted there, or it has problems.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, Path(path).name)
        copy.write_text(_text(thing, path, configs), encoding="utf-8")
        return load(copy, overrides)


def _text(thing: Object, path: str, configs: Configs) -> str:
    """What a file of the head's config map says.

    Raises:
        ConfigError: no file is mounted there.
    """
    head = next(pods([thing])).spec
    folder = str(Path(path).parent)
    mounted = [each["name"] for each in head["containers"][0]["volumeMounts"] if each["mountPath"] == folder]
    maps = [each["configMap"]["name"] for each in head["volumes"] if each["name"] in mounted and "configMap" in each]
    found = [configs[each] for each in maps if Path(path).name in configs.get(each, {})]
    if not found:
        raise ConfigError(f"{path}: no config is mounted there, only those of {', '.join(maps) or 'nothing'}")
    return found[0][Path(path).name]


def _mounted(thing: Object, path: str) -> bool:
    """Whether all workers have a volume at a file's folder."""
    return all(
        any(mount["mountPath"] == str(Path(path).parent) for mount in pod.spec["containers"][0].get("volumeMounts", []))
        for pod in pods([thing])
        if pod.role == "worker"
    )


def _fits(job: Job, thing: Object) -> Iterator[str]:
    """Say which workers of a job the cluster at its largest has no room for."""
    cluster = ray_cluster(thing)
    assert cluster is not None
    yield from room_problems(pools_of(job), [PodGroup.of_spec(group) for group in cluster["workerGroupSpecs"]])
