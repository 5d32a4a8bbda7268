"""Renders a submission as Kubernetes objects: its config as a ConfigMap, and KubeRay's RayJob that runs it.

The RayJobs are those of the project's manifests (`templates/`, rendered from `k8s/`); this fills in what differs from
job to job. The code is in the image.
"""

from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import yaml

from segray.errors import ConfigError
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


def render(
    submission: Submission,
    *,
    cluster: str = "gpu",
    image: str | None = None,
    namespace: str | None = None,
    max_replicas: Mapping[str, int] | None = None,
) -> str:
    """The objects as YAML documents for `kubectl apply -f -`.

    Args:
        submission: the job.
        cluster: one of `CLUSTERS`, which machines the RayJob asks for.
        image: of all containers; none: the template's.
        namespace: of both objects; none: the template's.
        max_replicas: most pods by worker group; groups not named keep the template's number.

    Raises:
        ConfigError: a worker group that the template does not have.
    """
    job = _template(cluster, submission.kind)
    metadata, spec = job["metadata"], job["spec"]
    metadata["name"] = submission.name
    metadata["labels"][_COMPONENT] = submission.kind
    if namespace:
        metadata["namespace"] = namespace
    spec["entrypoint"] = submission.command(f"{MOUNTED}/{_file(submission)}")
    cpus, gpus = submission.driver
    spec |= {key: number for key, number in (("entrypointNumCpus", cpus), ("entrypointNumGpus", gpus)) if number}
    if submission.variables:
        spec["runtimeEnvYAML"] = yaml.safe_dump({"env_vars": {**submission.variables}})
    settings = _settings(submission, metadata)
    for template in _templates(spec):
        template["metadata"]["labels"][_COMPONENT] = submission.kind
        _point_at(template["spec"], settings["metadata"]["name"])
        for container in template["spec"]["containers"] if image else ():
            container["image"] = image
    _resize(spec["rayClusterSpec"], max_replicas or {})
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


def _resize(cluster: Mapping[str, Any], max_replicas: Mapping[str, int]) -> None:
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    for name, most in max_replicas.items():
        if name not in groups:
            raise ConfigError(f"--max-replicas {name}={most}: no such worker group; there are {', '.join(groups)}")
        group = groups[name]
        group["maxReplicas"] = most
        group |= {key: min(group[key], most) for key in ("replicas", "minReplicas") if key in group}
