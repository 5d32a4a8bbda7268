"""Rendered manifests as plain objects, and the pods and Ray clusters in them. Knows kustomize and YAML, no rules."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

CLUSTER_SPEC = {
    "RayCluster": ("spec",),
    "RayJob": ("spec", "rayClusterSpec"),
    "RayService": ("spec", "rayClusterConfig"),
}
"""Where each kind has its Ray cluster."""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod that an object asks for."""

    where: str
    """For messages: `RayJob/segray-label worker group gpu-spot`."""
    role: str
    """head, worker or submitter."""
    labels: dict[str, str]
    """With those that KubeRay adds to Ray's pods."""
    spec: Object
    group: Object
    """What of the Ray cluster it is made from: head or worker group; empty for a submitter."""

    @property
    def containers(self) -> list[Object]:
        """All of them, Ray's first."""
        return [*self.spec["containers"], *self.spec.get("initContainers", [])]


def renderer() -> Sequence[str] | None:
    """The command that builds a kustomization, where this machine has one."""
    if shutil.which("kustomize"):
        return ("kustomize", "build")
    return ("kubectl", "kustomize") if shutil.which("kubectl") else None


def render(folder: Path) -> list[Object]:
    """The objects of a kustomization.

    Raises:
        FileNotFoundError: neither kustomize nor kubectl is installed.
        subprocess.CalledProcessError: it does not build; stderr says why.
    """
    command = renderer()
    if command is None:
        raise FileNotFoundError("neither kustomize nor kubectl is installed")
    built = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True)
    return read(built.stdout)


def read(text: str) -> list[Object]:
    """The objects of a file of one or more documents."""
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def name(thing: Object) -> str:
    """Kind and name, for messages."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """Those of some kinds."""
    return [each for each in objects if each["kind"] in kinds]


def ray_cluster(thing: Object) -> Object | None:
    """The Ray cluster's spec in an object; None where it has none."""
    found: Object | None = thing if thing["kind"] in CLUSTER_SPEC else None
    for key in CLUSTER_SPEC.get(thing["kind"], ()):
        found = found.get(key) if found else None
    return found


def pods(objects: Sequence[Object]) -> Iterator[Pod]:
    """Every pod that the objects ask for; a cluster without a head is the schemas' business."""
    for thing in objects:
        cluster = ray_cluster(thing)
        if cluster is None or "headGroupSpec" not in cluster:
            continue
        yield _ray_pod(thing, "head", "head", cluster["headGroupSpec"])
        for group in cluster.get("workerGroupSpecs", []):
            yield _ray_pod(thing, "worker", f"worker group {group['groupName']}", group)
        submitter = thing["spec"].get("submitterPodTemplate")
        if submitter:
            labels = submitter.get("metadata", {}).get("labels", {})
            yield Pod(
                where=f"{name(thing)} submitter", role="submitter", labels=labels, spec=submitter["spec"], group={}
            )


def _ray_pod(thing: Object, role: str, called: str, group: Object) -> Pod:
    template = group["template"]
    added = {
        "ray.io/is-ray-node": "yes",
        "ray.io/node-type": role,
        "ray.io/group": group.get("groupName", "headgroup"),
    }
    labels = template.get("metadata", {}).get("labels", {}) | added
    return Pod(where=f"{name(thing)} {called}", role=role, labels=labels, spec=template["spec"], group=group)
