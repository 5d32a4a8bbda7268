"""What the API server would refuse by its schemas, read strictly: a key that no schema knows is a problem.

Core kinds by kubernetes-validate, KubeRay's by its CRDs, the one of the Prometheus operator by the part used here.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from k8s.check.objects import Object, name, pods

KUBERNETES = "1.33"
"""The API that manifests are written for."""

CRD_KINDS = ("RayCluster", "RayJob", "RayService")

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}


def _closed(required: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


POD_MONITOR = _closed(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "monitoring.coreos.com/v1"},
    kind={"const": "PodMonitor"},
    metadata={"type": "object"},
    spec=_closed(
        ("selector", "podMetricsEndpoints"),
        selector=_closed(matchLabels={"type": "object", "additionalProperties": _TEXT}),
        podMetricsEndpoints={
            "type": "array",
            "minItems": 1,
            "items": _closed(
                port=_TEXT,
                path=_TEXT,
                interval={"type": "string", "pattern": r"^\d+(ms|s|m|h)$"},
                relabelings={"type": "array", "items": _closed(sourceLabels=_TEXTS, targetLabel=_TEXT)},
            ),
        },
    ),
)
"""The fields of a PodMonitor that are used here, as its CRD has them."""


class Crds:
    """KubeRay's kinds, by the CRD files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cache  # noqa: B019 - one per process
    def schema(self, thing_kind: str, version: str = "v1") -> dict[str, Any]:
        """A kind's schema as the CRD has it."""
        path = self._folder / f"ray.io_{thing_kind.lower()}s.yaml"
        crd = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        return next(each["schema"]["openAPIV3Schema"] for each in crd["spec"]["versions"] if each["name"] == version)

    @cache  # noqa: B019 - one per process
    def validator(self, thing_kind: str) -> jsonschema.Draft202012Validator:
        """For the kind's schema, closed."""
        return jsonschema.Draft202012Validator(close(self.schema(thing_kind)))


def close(schema: Any) -> Any:
    """A schema that refuses keys it does not name, but where it says that it keeps them."""
    if not isinstance(schema, dict):
        return [close(each) for each in schema] if isinstance(schema, list) else schema
    closed = {key: _close_properties(value) if key == "properties" else close(value) for key, value in schema.items()}
    named = "properties" in schema and "additionalProperties" not in schema
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed


def _close_properties(properties: dict[str, Any]) -> dict[str, Any]:
    return {key: close(value) for key, value in properties.items()}


def schema_problems(objects: Sequence[Object], crds: Crds) -> list[str]:
    """What the schemas refuse."""
    problems = []
    for thing in objects:
        if thing["apiVersion"].startswith("ray.io/"):
            errors = list(crds.validator(thing["kind"]).iter_errors(thing))
            problems += [f"{name(thing)}: {_told(each)}" for each in errors]
            problems += _metadata(name(thing), thing["metadata"])
        elif thing["kind"] == "PodMonitor":
            errors = list(jsonschema.Draft202012Validator(POD_MONITOR).iter_errors(thing))
            problems += [f"{name(thing)}: {_told(each)}" for each in errors]
        else:
            problems += _core(name(thing), thing)
    for pod in pods(objects):
        problems += _core(pod.where, _as_pod(pod.spec))
    return problems


def _as_pod(spec: Object) -> Object:
    """CRDs keep pod specs looser than the core schema: no bounds, no enums."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}


def _metadata(where: str, metadata: Object) -> list[str]:
    """CRDs leave metadata open; any core kind's is the same."""
    return _core(where, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def _core(where: str, thing: Object) -> list[str]:
    return [f"{where}: {each}" for each in _refused(json.dumps(thing))]


@cache
def _refused(thing: str) -> tuple[str, ...]:
    """What the core schemas refuse of an object, as JSON; the library reads a megabyte of schemas for each."""
    try:
        kubernetes_validate.validate(json.loads(thing), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return (_told(error),)
    return ()


def _told(error: jsonschema.ValidationError) -> str:
    path = ".".join(str(part) for part in error.path)
    return f"{path or 'object'}: {error.message[:200]}"
