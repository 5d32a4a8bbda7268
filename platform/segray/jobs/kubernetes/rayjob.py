"""Renders a submission as Kubernetes objects: its config as a ConfigMap, and KubeRay's RayJob that runs it.

The RayJobs are those of the project's manifests (`templates/`, rendered from `k8s/`); this fills in what differs from
job to job, and refuses a job that its own cluster could never run. The code is in the image.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

import yaml

from segray.config.label import StageJob
from segray.errors import ConfigError
from segray.jobs.kubernetes.plan import WorkForecast, plan_problems
from segray.jobs.kubernetes.pools import GIB, PodGroup, Pool, Resources, following, pools_of, room_problems
from segray.jobs.kubernetes.quantities import quantity
from segray.jobs.submission import Submission

CLUSTERS = ("gpu", "cpu")
MOUNTED = "/etc/segray/configs"
"""Where the templates mount the volume `VOLUME`."""
VOLUME = "configs"
_COMPONENT = "app.kubernetes.io/component"


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines, such as a config, as lines."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


Capacity = Literal["both", "spot", "on-demand"]
_SPOT = "-spot"
"""How the names of worker groups on spot machines end."""
_GPU_TYPE_LABEL = "nvidia.com/gpu.product"
"""The node label that NVIDIA's feature discovery sets."""


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """What a user wants of the job's cluster beside its config; None keeps what the template has."""

    image: str | None = None
    """Image of all containers."""
    namespace: str | None = None
    """Namespace of both objects."""
    max_replicas: Mapping[str, int] = field(default_factory=dict)
    """Most pods by worker group; groups not named get as many as the config's workers need."""
    head_cpus: float | None = None
    head_memory_gib: float | None = None
    deadline_hours: float | None = None
    """Hours after which Kubernetes ends the job."""
    capacity: Capacity = "both"
    """Whether GPU workers run on spot machines, on on-demand ones, or spot first and on-demand where spot has none."""
    gpu_type: str | None = None
    """Value of the node label `nvidia.com/gpu.product` that GPU workers ask for."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Node labels that all workers ask for."""
    forecast: WorkForecast | None = None
    """What a sampled run said; deadline and head are checked against it."""


def render(submission: Submission, *, cluster: str = "gpu", options: ClusterOptions | None = None) -> str:
    """Return the objects as YAML documents for `kubectl apply -f -`.

    Args:
        submission: the job.
        cluster: one of `CLUSTERS`, which machines the RayJob asks for.
        options: what the user wants of the cluster.

    Raises:
        ConfigError: the cluster lacks a worker group or node that the job asks for, or the forecast does not fit it;
            one line per problem.
    """
    options = options or ClusterOptions()
    job = _template(cluster, submission.kind)
    metadata, spec = job["metadata"], job["spec"]
    metadata["name"] = submission.name
    metadata["labels"][_COMPONENT] = submission.kind
    if options.namespace:
        metadata["namespace"] = options.namespace
    spec["entrypoint"] = submission.command(f"{MOUNTED}/{_file(submission)}")
    cpus, gpus = submission.driver
    spec |= {key: number for key, number in (("entrypointNumCpus", cpus), ("entrypointNumGpus", gpus)) if number}
    if submission.variables:
        spec["runtimeEnvYAML"] = yaml.safe_dump({"env_vars": {**submission.variables}})
    settings = _settings(submission, metadata)
    for template in _templates(spec):
        template["metadata"]["labels"][_COMPONENT] = submission.kind
        _point_at(template["spec"], settings["metadata"]["name"])
        for container in template["spec"]["containers"] if options.image else ():
            container["image"] = options.image
    _apply(options, spec, _pools(submission))
    _refuse_impossible(submission, spec, options.forecast)
    return str(yaml.dump_all([settings, job], Dumper=_Dumper, sort_keys=False, width=120))


def _template(cluster: str, kind: str) -> dict[str, Any]:
    """The RayJob of a kind; evaluation takes the machines of labeling."""
    text = resources.files("segray.jobs").joinpath(f"templates/rayjobs-{cluster}.yaml").read_text(encoding="utf-8")
    jobs = {job["metadata"]["labels"][_COMPONENT]: job for job in yaml.safe_load_all(text)}
    return dict(jobs["train" if kind == "train" else "label"])


def _file(submission: Submission) -> str:
    return f"{submission.kind}.toml"


def _settings(submission: Submission, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{submission.name}-config",
            "namespace": metadata["namespace"],
            "labels": dict(metadata["labels"]),
        },
        "data": {_file(submission): submission.config.read_text(encoding="utf-8")},
    }


def _templates(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Pod templates of head, workers and submitter."""
    cluster = spec["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]
    yield spec["submitterPodTemplate"]


def _point_at(pod: Mapping[str, Any], name: str) -> None:
    for volume in pod.get("volumes", ()):
        if volume["name"] == VOLUME:
            volume["configMap"]["name"] = name


def _pools(submission: Submission) -> list[Pool]:
    """Return the job's workers, and its command where that computes too."""
    cpus, gpus = submission.driver
    command = [Pool(called="command", count=1, size=Resources(cpus=cpus, gpus=gpus))] if cpus or gpus else []
    return [*pools_of(submission.loaded), *command]


def _apply(options: ClusterOptions, spec: dict[str, Any], pools: list[Pool]) -> None:
    """Set the sizes of head and worker groups, and where workers run."""
    cluster = spec["rayClusterSpec"]
    if options.deadline_hours is not None:
        spec["activeDeadlineSeconds"] = round(options.deadline_hours * 3600)
    _resize_head(cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"], options)
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    if unknown := [name for name in options.max_replicas if name not in groups]:
        raise ConfigError(f"--max-replicas {unknown[0]}: no such worker group; there are {', '.join(groups)}")
    for sized in following([PodGroup.of_spec(group) for group in groups.values()], pools):
        wanted = 0 if _left_out(sized, options.capacity) else sized.max_replicas
        _set_replicas(groups[sized.name], options.max_replicas.get(sized.name, wanted))
        selector = dict(options.node_selector)
        if options.gpu_type and sized.size.gpus:
            selector[_GPU_TYPE_LABEL] = options.gpu_type
        if selector:
            groups[sized.name]["template"]["spec"].setdefault("nodeSelector", {}).update(selector)


def _left_out(group: PodGroup, capacity: Capacity) -> bool:
    """Return whether a group of GPU machines is of the capacity that is not wanted."""
    if capacity == "both" or not group.size.gpus:
        return False
    return group.name.endswith(_SPOT) != (capacity == "spot")


def _resize_head(resources: Mapping[str, dict[str, Any]], options: ClusterOptions) -> None:
    for amounts in resources.values():
        if options.head_cpus is not None:
            amounts["cpu"] = f"{options.head_cpus:g}"
        if options.head_memory_gib is not None:
            amounts["memory"] = f"{round(options.head_memory_gib * 1024)}Mi"


def _set_replicas(group: dict[str, Any], most: int) -> None:
    group["maxReplicas"] = most
    group |= {key: min(group[key], most) for key in ("replicas", "minReplicas") if key in group}


def _refuse_impossible(submission: Submission, spec: Mapping[str, Any], forecast: WorkForecast | None) -> None:
    """Compare what is rendered with itself.

    Raises:
        ConfigError: the cluster could never run the job.
    """
    cluster = spec["rayClusterSpec"]
    groups = [PodGroup.of_spec(group) for group in cluster["workerGroupSpecs"]]
    problems = list(room_problems(_pools(submission), groups))
    if forecast is not None and isinstance(submission.loaded, StageJob):
        head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        problems += plan_problems(
            forecast, submission.loaded, deadline_s=spec["activeDeadlineSeconds"], head_gib=quantity(head) / GIB
        )
    if problems:
        raise ConfigError("the cluster of this RayJob could never run it", tuple(problems))
