"""Whether what names something names something that is there: secrets, accounts, ports, labels, versions."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from k8s.check.objects import Object, name, of_kind, pods, ray_cluster
from k8s.check.serve_config import http_port

PORTS = {"serve": 8000, "metrics": 8080}
"""KubeRay's names for the ports that others than Ray may reach."""
DASHBOARD = 8265
OPERATOR = {"app.kubernetes.io/component": "kuberay-operator"}
"""What the operator's pods are labelled, by its chart and by its kustomization."""
GATEWAY = "gateway.networking.k8s.io/gateway-name"
"""The label of a gateway's pods, which run in the gateway's namespace."""


def reference_problems(objects: Sequence[Object], beside: Sequence[Object] = ()) -> list[str]:
    """What is named and missing. `beside` are objects that others make: secrets, or a platform applied before."""
    there = {name(each) for each in (*objects, *beside)}
    problems = [
        f"{pod.where}: {named} does not exist"
        for pod in pods(objects)
        for named in _named(pod.spec)
        if named not in there
    ]
    for binding in of_kind(objects, "RoleBinding"):
        named = [f"{binding['roleRef']['kind']}/{binding['roleRef']['name']}"]
        named += [f"{each['kind']}/{each['name']}" for each in binding["subjects"]]
        problems += [f"{name(binding)}: {each} does not exist" for each in named if each not in there]
    return problems


def selector_problems(objects: Sequence[Object], beside: Sequence[Object] = ()) -> list[str]:
    """Policies, budgets and monitors that are about no pod, or about ports that no pod has."""
    labels = [pod.labels for pod in pods([*objects, *beside])] + [*_gateways(objects)]
    problems = []
    for thing in of_kind(objects, "NetworkPolicy", "PodDisruptionBudget", "PodMonitor"):
        spec = thing["spec"]
        wanted = spec.get("podSelector", spec.get("selector", {})).get("matchLabels", {})
        if not any(wanted.items() <= each.items() for each in labels):
            problems.append(f"{name(thing)}: selects no pod: {wanted}")
    monitored = {each["port"] for one in of_kind(objects, "PodMonitor") for each in one["spec"]["podMetricsEndpoints"]}
    for pod in pods(objects):
        has = {each["name"]: each["containerPort"] for each in pod.spec["containers"][0].get("ports", [])}
        if pod.role != "submitter":
            problems += [f"{pod.where}: has no port {port}, which is monitored" for port in monitored - has.keys()]
            problems += [
                f"{pod.where}: port {key} is {has.get(key)}, not {port}"
                for key, port in PORTS.items()
                if has.get(key) != port
            ]
    return problems


def network_problems(objects: Sequence[Object]) -> list[str]:
    """Ways in or out that are too many or too few."""
    policies = of_kind(objects, "NetworkPolicy")
    denied = [
        each
        for each in policies
        if each["spec"]["podSelector"] == {} and not {"ingress", "egress"} & each["spec"].keys()
    ]
    open_to_all = [each for each in policies if any(not rule.get("from") for rule in each["spec"].get("ingress", []))]
    problems = [f"{name(each)}: lets everyone in" for each in open_to_all]
    if not any({"Ingress", "Egress"} <= {*each["spec"]["policyTypes"]} for each in denied):
        problems.append("no NetworkPolicy denies what no other allows")
    if not any(_lets(each, OPERATOR, DASHBOARD) for each in policies):
        problems.append(f"no policy lets the operator, {OPERATOR}, in at the heads' dashboards")
    for gateway in _gateways(objects):
        if not any(_lets(each, gateway, PORTS["serve"]) for each in policies):
            problems.append(f"no policy lets the gateway {gateway[GATEWAY]} in at the endpoint")
        if not any(each["spec"]["podSelector"] == {"matchLabels": gateway} for each in policies):
            problems.append(f"the gateway {gateway[GATEWAY]} may talk to nobody: its pods run in this namespace")
    for service in of_kind(objects, "RayService"):
        port = http_port(service)
        if port not in _let_in(policies):
            problems.append(f"{name(service)}: no policy lets callers in at its port {port}")
        if port != PORTS["serve"]:
            problems.append(f"{name(service)}: listens on {port}, its pods' port serve is {PORTS['serve']}")
    return problems


def version_problems(objects: Sequence[Object], root: Path) -> list[str]:
    """One version of Ray: in the constraints, in the image, in every cluster."""
    pinned = ray_version(root / "constraints.txt")
    problems = []
    for thing in objects:
        cluster = ray_cluster(thing)
        if cluster is not None and cluster.get("rayVersion") != pinned:
            problems.append(f"{name(thing)}: rayVersion {cluster.get('rayVersion')}, constraints.txt pins {pinned}")
    problems += [
        f"{pod.where}: image {each['image']}: its tag does not say ray{pinned}"
        for pod in pods(objects)
        for each in pod.containers
        if f"-ray{pinned}-" not in each["image"].rpartition(":")[2]
    ]
    return problems


def ray_version(constraints: Path) -> str:
    """The version of Ray that is pinned.

    Raises:
        LookupError: none is.
    """
    found = re.search(r"^ray==(\S+)$", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise LookupError(f"{constraints}: pins no ray==VERSION")
    return found[1]


def _named(spec: Any) -> Iterator[str]:
    """What a pod's spec names."""
    if "serviceAccountName" in spec:
        yield f"ServiceAccount/{spec['serviceAccountName']}"
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            yield f"Secret/{volume['secret']['secretName']}"
        if "configMap" in volume:
            yield f"ConfigMap/{volume['configMap']['name']}"
    for container in spec["containers"]:
        for source in container.get("envFrom", []):
            yield from (
                f"{kind[0].upper()}{kind[1:-3]}/{ref['name']}" for kind, ref in source.items() if kind != "prefix"
            )


def _gateways(objects: Sequence[Object]) -> Iterator[dict[str, str]]:
    """Labels of the gateways that KubeRay makes for services which move their traffic step by step."""
    for service in of_kind(objects, "RayService"):
        if service["spec"].get("upgradeStrategy", {}).get("type") == "NewClusterWithIncrementalUpgrade":
            yield {GATEWAY: f"{service['metadata']['name']}-gateway"}


def _lets(policy: Object, labels: dict[str, str], port: int) -> bool:
    """Whether a policy lets in pods of these labels at a port."""
    return any(
        any(peer.get("podSelector", {}).get("matchLabels") == labels for peer in rule.get("from", []))
        and any(each["port"] == port for each in rule.get("ports", []))
        for rule in policy["spec"].get("ingress", [])
    )


def _let_in(policies: Sequence[Object]) -> set[int]:
    return {
        port["port"]
        for policy in policies
        for rule in policy["spec"].get("ingress", [])
        if any(each.get("namespaceSelector") for each in rule.get("from", []))
        for port in rule.get("ports", [])
    }
