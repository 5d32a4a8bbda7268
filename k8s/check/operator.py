"""What KubeRay's operator and Kueue refuse beyond any schema: their own validation, by the rules that concern us.

Source: KubeRay 1.7, ray-operator's `validation.go`; Kueue, "Run a RayJob", limitations.
"""

import re
from collections.abc import Iterator, Sequence

from k8s.check.objects import Object, name, of_kind, ray_cluster

LONGEST_NAME = {"RayCluster": 63, "RayJob": 47, "RayService": 47}
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DELETION_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
_QUEUE = "kueue.x-k8s.io/queue-name"
_TOKENS_SINCE = (2, 52)


def operator_problems(objects: Sequence[Object]) -> list[str]:
    """What KubeRay and Kueue refuse."""
    problems = []
    for thing in of_kind(objects, *LONGEST_NAME):
        found = [*_names(thing)]
        cluster = ray_cluster(thing)
        if cluster is None:
            found.append("has no Ray cluster")
        else:
            found += _cluster(cluster)
        if thing["kind"] == "RayJob":
            found += [*_job(thing["spec"]), *_deletion(thing["spec"])]
        if thing["kind"] == "RayService" and cluster is not None:
            found += _service(thing["spec"], cluster)
        if _QUEUE in thing["metadata"].get("labels", {}):
            found += _queued(thing["spec"], cluster or {})
        problems += [f"{name(thing)}: {each}" for each in found]
    return [*problems, *_clashes(objects)]


def _clashes(objects: Sequence[Object]) -> Iterator[str]:
    """KubeRay gives each of its objects a service NAME-head-svc, whatever its kind."""
    taken: dict[str, Object] = {}
    for thing in of_kind(objects, *LONGEST_NAME):
        other = taken.setdefault(thing["metadata"]["name"], thing)
        if other is not thing:
            yield f"{name(thing)} and {name(other)} would share the service {thing['metadata']['name']}-head-svc"


def _names(thing: Object) -> Iterator[str]:
    given, longest = thing["metadata"]["name"], LONGEST_NAME[thing["kind"]]
    if len(given) > longest:
        yield f"name has {len(given)} characters, at most {longest} leave room for what KubeRay adds"
    if not _DNS_1035.fullmatch(given):
        yield f"name {given!r} is no DNS-1035 label: lower case, digits and -, a letter first"


def _cluster(spec: Object) -> Iterator[str]:
    groups = [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]
    for group in groups:
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & group["rayStartParams"].keys():
            yield "resources are given both in rayStartParams and resources"
        if "labels" in group.get("rayStartParams", {}):
            yield "rayStartParams.labels is not supported: use the group's labels"
    if spec.get("authOptions", {}).get("mode") == "token":
        version = tuple(int(part) for part in spec.get("rayVersion", "0").split(".")[:2])
        if version < _TOKENS_SINCE:
            yield f"authOptions.mode token needs rayVersion 2.52 or later, got {spec.get('rayVersion')!r}"
    if spec.get("enableInTreeAutoscaling"):
        yield from _autoscaled(spec, groups)


def _autoscaled(spec: Object, groups: Sequence[Object]) -> Iterator[str]:
    if any(group.get("suspend") for group in groups):
        yield "a worker group cannot be suspended with the autoscaler on"
    if spec.get("autoscalerOptions", {}).get("version") != "v2":
        return
    if any(group["template"]["spec"].get("restartPolicy", "Never") != "Never" for group in groups):
        yield "restartPolicy must be Never or unset with autoscaler v2"
    environment = spec["headGroupSpec"]["template"]["spec"]["containers"][0].get("env", [])
    if any(each["name"] == "RAY_enable_autoscaler_v2" for each in environment):
        yield "both autoscalerOptions.version and RAY_enable_autoscaler_v2 are set"


def _job(spec: Object) -> Iterator[str]:
    shuts_down = spec.get("shutdownAfterJobFinishes", False)
    if spec.get("suspend") and not shuts_down:
        yield "suspend needs shutdownAfterJobFinishes"
    if spec.get("ttlSecondsAfterFinished", 0) and not shuts_down:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
    if spec.get("activeDeadlineSeconds", 1) <= 0:
        yield "activeDeadlineSeconds must be positive"
    if spec.get("backoffLimit", 0) < 0:
        yield "backoffLimit must not be negative"
    if spec.get("submissionMode") == "SidecarMode" and ("submitterPodTemplate" in spec or "submitterConfig" in spec):
        yield "SidecarMode has no submitter of its own"


def _deletion(spec: Object) -> Iterator[str]:
    rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
    if rules and spec.get("shutdownAfterJobFinishes"):
        yield "deletionRules and shutdownAfterJobFinishes exclude each other"
    if spec.get("rayClusterSpec", {}).get("enableInTreeAutoscaling"):
        yield from (
            "DeleteWorkers does not go with the autoscaler" for each in rules if each["policy"] == "DeleteWorkers"
        )
    delays: dict[tuple[str, str], dict[str, int]] = {}
    for each in rules:
        condition = each["condition"]
        status = (condition.get("jobStatus", ""), condition.get("jobDeploymentStatus", ""))
        known = delays.setdefault(status, {})
        if each["policy"] in known:
            yield f"two deletion rules {each['policy']} for {' '.join(status).strip()}"
        known[each["policy"]] = condition.get("ttlSeconds", 0)
    for known in delays.values():
        ordered = [known[policy] for policy in _DELETION_ORDER if policy in known]
        if ordered != sorted(ordered):
            yield f"deletion rules out of order: {known}, first workers, then cluster, then the job itself"


def _service(spec: Object, cluster: Object) -> Iterator[str]:
    strategy = spec.get("upgradeStrategy", {})
    kind = strategy.get("type", "NewCluster")
    if kind not in ("NewCluster", "NewClusterWithIncrementalUpgrade", "None"):
        yield f"upgradeStrategy.type {kind!r} is not known"
    if kind != "NewClusterWithIncrementalUpgrade":
        return
    if not cluster.get("enableInTreeAutoscaling"):
        yield "an incremental upgrade needs the autoscaler"
    options = strategy.get("clusterUpgradeOptions")
    if options is None:
        yield "an incremental upgrade needs clusterUpgradeOptions"
        return
    for key in ("maxSurgePercent", "stepSizePercent"):
        if not 0 <= options.get(key, 100) <= 100:
            yield f"{key} must be between 0 and 100, got {options[key]}"
    if options["intervalSeconds"] <= 0:
        yield "intervalSeconds must be positive"


def _queued(spec: Object, cluster: Object) -> Iterator[str]:
    if not spec.get("suspend"):
        yield "Kueue starts what comes suspended: suspend must be true"
    if not spec.get("shutdownAfterJobFinishes"):
        yield "Kueue needs shutdownAfterJobFinishes: a cluster holds quota while it exists"
    if cluster.get("enableInTreeAutoscaling"):
        yield "Kueue admits a cluster of fixed size: enableInTreeAutoscaling must be false"
    if len(cluster.get("workerGroupSpecs", [])) > 7:
        yield "Kueue knows at most 7 worker groups"
