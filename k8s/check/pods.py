"""What every pod must be: bounded, unprivileged, probed, and placed where its work is."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from k8s.check.objects import Object, Pod, name, of_kind, pods, ray_cluster
from segray.jobs.kubernetes.quantities import quantity

GPU: Final = "nvidia.com/gpu"
AGENT_PORT: Final = 52365
"""Where Ray's dashboard agent answers a node's probes, without a token."""

STAYS: Final = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
"""By which the autoscalers of nodes know pods that they must not move."""


def pod_problems(objects: Sequence[Object]) -> list[str]:
    """What is wrong with the pods."""
    problems = [f"{pod.where}: {each}" for pod in pods(objects) for check in _OF_PODS for each in check(pod)]
    for thing in objects:
        cluster = ray_cluster(thing)
        if cluster is not None:
            problems += [f"{name(thing)}: {each}" for check in _OF_CLUSTERS for each in check(cluster)]
    for service in of_kind(objects, "Service"):
        if service["spec"].get("type", "ClusterIP") != "ClusterIP":
            problems.append(f"{name(service)}: is open to the outside; let an ingress be the one way in")
    return problems


def _bounded(pod: Pod) -> Iterator[str]:
    for each in pod.containers:
        resources = each.get("resources", {})
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        missing = [
            f"{kind}.{key}"
            for kind in ("requests", "limits")
            for key in ("cpu", "memory")
            if key not in resources.get(kind, {})
        ]
        if missing:
            yield f"container {each['name']} has no {', '.join(missing)}"
        elif requests["memory"] != limits["memory"]:
            given = f"asks for {requests['memory']} of memory and may use {limits['memory']}"
            yield f"container {each['name']} {given}: others' pods would pay"
        if requests.get(GPU) != limits.get(GPU):
            yield f"container {each['name']}: GPUs requested and allowed differ"


def _unprivileged(pod: Pod) -> Iterator[str]:
    own = pod.spec.get("securityContext", {})
    if not own.get("runAsNonRoot") or own.get("runAsUser") == 0:
        yield "may run as root: securityContext.runAsNonRoot"
    if own.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile: securityContext.seccompProfile.type RuntimeDefault"
    yield from (f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(key))
    yield from (f"volume {each['name']} is the node's" for each in pod.spec.get("volumes", []) if "hostPath" in each)
    for each in pod.containers:
        context = each.get("securityContext", {})
        if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
            yield f"container {each['name']} can gain privileges: securityContext.allowPrivilegeEscalation false"
        if "ALL" not in context.get("capabilities", {}).get("drop", []):
            yield f"container {each['name']} keeps capabilities: securityContext.capabilities.drop [ALL]"


def _tokenless(pod: Pod) -> Iterator[str]:
    if "serviceAccountName" not in pod.spec:
        yield "runs as the namespace's default service account"
    if pod.role != "head" and pod.spec.get("automountServiceAccountToken") is not False:
        yield "has a token for Kubernetes and no use for it: automountServiceAccountToken false"


def _probed(pod: Pod) -> Iterator[str]:
    if pod.role == "submitter":
        return
    ray = pod.spec["containers"][0]
    for probe in ("startupProbe", "livenessProbe"):
        got = ray.get(probe, {}).get("httpGet", {})
        if (got.get("path"), got.get("port")) != ("/api/healthz", AGENT_PORT):
            yield f"{probe} does not ask the node's agent: httpGet /api/healthz at {AGENT_PORT}"
    if "readinessProbe" in ray:
        yield "has a readinessProbe of its own, which keeps KubeRay from asking a RayService's proxies"


def _shared_memory(pod: Pod) -> Iterator[str]:
    if pod.role == "submitter":
        return
    ray = pod.spec["containers"][0]
    mounted = {each["name"] for each in ray.get("volumeMounts", []) if each["mountPath"] == "/dev/shm"}
    volumes = [each for each in pod.spec.get("volumes", []) if each["name"] in mounted]
    volume = volumes[0].get("emptyDir", {}) if volumes else {}
    memory = quantity(ray.get("resources", {}).get("limits", {}).get("memory", 0))
    size = quantity(volume.get("sizeLimit", 0))
    if volume.get("medium") != "Memory" or not 0.3 * memory <= size <= 0.5 * memory:
        yield f"/dev/shm must be memory, of 30 % (Ray's object store) to 50 % of the container's, got {volume}"


def _tolerant(pod: Pod) -> Iterator[str]:
    wants = GPU in pod.spec["containers"][0].get("resources", {}).get("limits", {})
    tolerates = any(each.get("key") == GPU for each in pod.spec.get("tolerations", []))
    if wants and not tolerates:
        yield f"wants a GPU and does not tolerate the taint {GPU} of nodes that have one"
    if tolerates and not wants:
        yield f"tolerates the taint {GPU} and wants no GPU: it would fill nodes that others wait for"


_OF_PODS: Final[tuple[Callable[[Pod], Iterator[str]], ...]] = (
    _bounded,
    _unprivileged,
    _tokenless,
    _probed,
    _shared_memory,
    _tolerant,
)


def _head_without_work(cluster: Object) -> Iterator[str]:
    head = cluster["headGroupSpec"]
    if head.get("rayStartParams", {}).get("num-cpus") != "0":
        yield 'the head takes work that could cost the cluster: rayStartParams.num-cpus "0"'
    if _capacity(head) != "on-demand":
        yield "the head may land on a spot node"
    if head.get("serviceType", "ClusterIP") != "ClusterIP":
        yield f"the head's service is open to the outside: serviceType {head['serviceType']}"


def _head_stays(cluster: Object) -> Iterator[str]:
    given = cluster["headGroupSpec"]["template"].get("metadata", {}).get("annotations", {})
    yield from (
        f"whoever saves nodes may move the head, and with it end its jobs: annotation {key} {value!r}"
        for key, value in STAYS.items()
        if given.get(key) != value
    )


def _guarded(cluster: Object) -> Iterator[str]:
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "Ray's ports take commands from everyone who reaches them: authOptions.mode token"


def _scaled(cluster: Object) -> Iterator[str]:
    if not cluster.get("enableInTreeAutoscaling"):
        return
    options = cluster.get("autoscalerOptions", {})
    if options.get("version") != "v2" or not options.get("idleTimeoutSeconds"):
        yield "autoscalerOptions: version v2 and idleTimeoutSeconds"
    context = options.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or "ALL" not in context.get("capabilities", {}).get(
        "drop", []
    ):
        yield "the autoscaler's container has no securityContext"
    for group in cluster["workerGroupSpecs"]:
        if not group["minReplicas"] <= group.get("replicas", 0) <= group["maxReplicas"]:
            yield f"group {group['groupName']}: replicas outside of minReplicas to maxReplicas"


def _spot_first(cluster: Object) -> Iterator[str]:
    groups = [each for each in cluster.get("workerGroupSpecs", []) if _gpus(each)]
    priorities = {_capacity(each): each.get("priority", 0) for each in groups}
    if None in priorities:
        yield "a group of GPU nodes is neither spot nor on-demand"
    if len(priorities) == 2 and not priorities.get("spot", 0) > priorities.get("on-demand", 0):
        yield f"spot nodes are not asked for first: {priorities}"


_OF_CLUSTERS: Final[tuple[Callable[[Object], Iterator[str]], ...]] = (
    _head_without_work,
    _head_stays,
    _guarded,
    _scaled,
    _spot_first,
)


def _gpus(group: Object) -> float:
    return quantity(group["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {}).get(GPU, 0))


def _capacity(group: Object) -> str | None:
    """spot or on-demand, by what nodes the pods insist on; None where they take any."""
    affinity = group["template"]["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    operators = {each["operator"] for term in terms for each in term["matchExpressions"]}
    return {("In",): "spot", ("NotIn",): "on-demand"}.get(tuple(operators))
