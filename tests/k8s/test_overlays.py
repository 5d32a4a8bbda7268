"""Every overlay is as it should be, and every check finds the mistake it is there for."""

import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from k8s.check.all import object_problems
from k8s.check.jobs import job_problems
from k8s.check.objects import of_kind, pods, ray_cluster, read, render
from k8s.check.operator import operator_problems
from k8s.check.pods import pod_problems
from k8s.check.references import network_problems, reference_problems, selector_problems, version_problems
from k8s.check.schemas import schema_problems
from segray.jobs.kubernetes.quantities import quantity

ROOT = Path(__file__).parents[2]
OVERLAYS = ("gpu", "gpu/jobs", "cpu-dev", "cpu-dev/jobs", "kueue", "incremental")
TEMPLATES = ROOT / "platform" / "segray" / "jobs" / "templates"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_has_no_problems(rendered, overlay):
    assert object_problems(*rendered(overlay), crds=None) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schemas_know_every_key(rendered, crds, overlay):
    assert schema_problems(rendered(overlay)[0], crds) == []


@pytest.mark.parametrize(
    ("overlay", "kinds"),
    [
        ("gpu", {"RayCluster", "RayService", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "ConfigMap"}),
        ("cpu-dev", {"RayCluster", "RayService", "PodDisruptionBudget", "PodMonitor", "Namespace"}),
        ("gpu/jobs", {"RayJob"}),
        ("cpu-dev/jobs", {"RayJob"}),
        ("kueue", {"RayJob"}),
    ],
)
def test_an_overlay_brings(rendered, overlay, kinds):
    found = {each["kind"] for each in rendered(overlay)[0]}
    assert kinds <= found
    assert ("RayJob" in found) == (kinds == {"RayJob"}), "applying what stands must start no job"


@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_what_is_submitted_is_what_is_applied(rendered, device):
    overlay = {"gpu": "gpu", "cpu": "cpu-dev"}[device]
    template = TEMPLATES / f"rayjobs-{device}.yaml"
    assert read(template.read_text(encoding="utf-8")) == rendered(f"{overlay}/jobs")[0], "run `make manifests`"


def test_every_pod_is_of_one_definition(rendered):
    standing, _ = rendered("gpu")
    jobs, _ = rendered("gpu/jobs")
    heads = [ray_cluster(each)["headGroupSpec"]["template"]["spec"] for each in (*standing, *jobs) if ray_cluster(each)]
    assert len(heads) == 4
    assert all(head == heads[0] for head in heads)


def thing(objects, kind, name=None):
    return next(each for each in of_kind(objects, kind) if name in (None, each["metadata"]["name"]))


def spec(objects, kind="RayCluster", name=None):
    return ray_cluster(thing(objects, kind, name))


def head(objects, kind="RayCluster"):
    return spec(objects, kind)["headGroupSpec"]["template"]["spec"]


def worker(objects, index=0, kind="RayCluster"):
    return spec(objects, kind)["workerGroupSpecs"][index]["template"]["spec"]


def container(objects, index=0, kind="RayCluster"):
    return worker(objects, index, kind)["containers"][0]


def without(mapping, key):
    del mapping[key]


def rules(objects):
    return thing(objects, "RayJob")["spec"]["deletionStrategy"]["deletionRules"]


def keyless(objects):
    """No keys, for callers on this machine only, as a laptop may have it."""
    config(objects, "serve.toml", 'host = "0.0.0.0"\n', "")
    config(objects, "serve.toml", 'kind = "file"\npath = "/etc/segray/keys/keys"', 'kind = "off"')


def config(objects, name, old, new):
    data = thing(objects, "ConfigMap", "segray-configs")["data"]
    assert old in data[name]
    data[name] = data[name].replace(old, new)


def serving(objects, old, new):
    service = thing(objects, "RayService")["spec"]
    assert old in service["serveConfigV2"]
    service["serveConfigV2"] = service["serveConfigV2"].replace(old, new)


def upgrade(objects):
    return thing(objects, "RayService")["spec"]["upgradeStrategy"]


SCHEMA_MISTAKES = [
    ("gpu", lambda o: spec(o).update(rayVerison="2.60.0"), "rayVerison"),
    ("gpu", lambda o: spec(o)["workerGroupSpecs"][1].update(priorty=1), "priorty"),
    ("gpu", lambda o: spec(o).update(authOptions={"mode": "tokens"}), "tokens"),
    ("gpu", lambda o: spec(o)["workerGroupSpecs"][0].update(maxReplicas="8"), "maxReplicas"),
    ("gpu", lambda o: container(o).update(resource={}), "resource"),
    ("gpu", lambda o: worker(o)["volumes"].append({"name": "x", "emtyDir": {}}), "emtyDir"),
    ("gpu", lambda o: thing(o, "RayService")["metadata"].update(lables={}), "lables"),
    ("gpu", lambda o: without(spec(o, "RayService"), "headGroupSpec"), "headGroupSpec"),
    ("gpu", lambda o: thing(o, "Role").update(rulez=[]), "rulez"),
    ("gpu", lambda o: thing(o, "NetworkPolicy")["spec"].update(podSelectr={}), "podSelectr"),
    ("gpu", lambda o: thing(o, "PodDisruptionBudget")["spec"].update(minAvailabl=1), "minAvailabl"),
    ("gpu", lambda o: thing(o, "PodMonitor")["spec"].update(podMetricEndpoints=[]), "podMetricEndpoints"),
    ("gpu", lambda o: thing(o, "ConfigMap")["data"].update(x=1), "is not of type 'string'"),
    ("gpu/jobs", lambda o: thing(o, "RayJob")["spec"].update(backofLimit=1), "backofLimit"),
    ("gpu/jobs", lambda o: thing(o, "RayJob")["spec"].update(preRunningDeadlineSeconds=0), "preRunningDeadlineSeconds"),
    ("gpu/jobs", lambda o: rules(o)[0].update(policy="Delete"), "policy"),
]


@pytest.mark.parametrize(("overlay", "mistake", "told"), SCHEMA_MISTAKES, ids=[each[2] for each in SCHEMA_MISTAKES])
def test_a_mistake_is_found_by_the_schemas(rendered, crds, overlay, mistake, told):
    objects, _ = rendered(overlay)
    mistake(objects)
    assert told in "\n".join(schema_problems(objects, crds))


OPERATOR_MISTAKES = [
    ("gpu", lambda o: thing(o, "RayService")["metadata"].update(name="s" * 48), "48 characters"),
    ("gpu/jobs", lambda o: thing(o, "RayJob")["metadata"].update(name="1-label"), "DNS-1035"),
    ("gpu", lambda o: thing(o, "RayService")["metadata"].update(name="segray"), "share the service segray-head-svc"),
    ("gpu/jobs", lambda o: without(thing(o, "RayJob")["spec"], "rayClusterSpec"), "has no Ray cluster"),
    ("gpu", lambda o: spec(o)["headGroupSpec"].update(resources={"CPU": "0"}), "both in rayStartParams"),
    ("gpu", lambda o: spec(o)["headGroupSpec"]["rayStartParams"].update(labels="a=b"), "rayStartParams.labels"),
    ("gpu", lambda o: spec(o).update(rayVersion="2.51.0"), "needs rayVersion 2.52"),
    ("gpu", lambda o: spec(o)["workerGroupSpecs"][0].update(suspend=True), "cannot be suspended"),
    ("gpu", lambda o: worker(o).update(restartPolicy="Always"), "restartPolicy"),
    (
        "gpu",
        lambda o: head(o)["containers"][0].update(env=[{"name": "RAY_enable_autoscaler_v2", "value": "1"}]),
        "both autoscalerOptions.version",
    ),
    ("gpu/jobs", lambda o: thing(o, "RayJob")["spec"].update(suspend=True), "suspend needs"),
    (
        "gpu/jobs",
        lambda o: thing(o, "RayJob")["spec"].update(ttlSecondsAfterFinished=5),
        "ttlSecondsAfterFinished needs",
    ),
    ("gpu/jobs", lambda o: thing(o, "RayJob")["spec"].update(activeDeadlineSeconds=0), "activeDeadlineSeconds"),
    ("gpu/jobs", lambda o: thing(o, "RayJob")["spec"].update(backoffLimit=-1), "backoffLimit"),
    ("gpu/jobs", lambda o: thing(o, "RayJob")["spec"].update(submissionMode="SidecarMode"), "SidecarMode"),
    ("gpu/jobs", lambda o: thing(o, "RayJob")["spec"].update(shutdownAfterJobFinishes=True), "exclude each other"),
    ("gpu/jobs", lambda o: rules(o)[0].update(policy="DeleteWorkers"), "DeleteWorkers does not go"),
    ("gpu/jobs", lambda o: rules(o).append(dict(rules(o)[0])), "two deletion rules"),
    ("gpu/jobs", lambda o: rules(o)[0]["condition"].update(ttlSeconds=99999), "out of order"),
    ("gpu", lambda o: upgrade(o).update(type="Rolling"), "is not known"),
    ("incremental", lambda o: spec(o, "RayService").update(enableInTreeAutoscaling=False), "needs the autoscaler"),
    ("incremental", lambda o: without(upgrade(o), "clusterUpgradeOptions"), "needs clusterUpgradeOptions"),
    ("incremental", lambda o: upgrade(o)["clusterUpgradeOptions"].update(stepSizePercent=101), "stepSizePercent"),
    ("incremental", lambda o: upgrade(o)["clusterUpgradeOptions"].update(intervalSeconds=0), "intervalSeconds"),
    ("kueue", lambda o: thing(o, "RayJob")["spec"].update(suspend=False), "Kueue starts"),
    ("kueue", lambda o: thing(o, "RayJob")["spec"].update(shutdownAfterJobFinishes=False), "Kueue needs"),
    ("kueue", lambda o: spec(o, "RayJob").update(enableInTreeAutoscaling=True), "fixed size"),
    (
        "kueue",
        lambda o: spec(o, "RayJob").update(workerGroupSpecs=spec(o, "RayJob")["workerGroupSpecs"] * 8),
        "at most 7",
    ),
]


@pytest.mark.parametrize(("overlay", "mistake", "told"), OPERATOR_MISTAKES, ids=[each[2] for each in OPERATOR_MISTAKES])
def test_a_mistake_is_found_as_the_operators_would(rendered, overlay, mistake, told):
    objects, _ = rendered(overlay)
    mistake(objects)
    assert told in "\n".join(operator_problems(objects))


def limits(objects, index=0):
    return container(objects, index)["resources"]


POD_MISTAKES = [
    (lambda o: without(container(o), "resources"), "has no requests.cpu"),
    (lambda o: limits(o)["requests"].update(memory="1Gi"), "others' pods would pay"),
    (lambda o: limits(o, 1)["requests"].update({"nvidia.com/gpu": "2"}), "GPUs requested and allowed differ"),
    (lambda o: head(o)["securityContext"].update(runAsNonRoot=False), "may run as root"),
    (lambda o: worker(o)["securityContext"].update(runAsUser=0), "may run as root"),
    (lambda o: without(head(o)["securityContext"], "seccompProfile"), "seccomp"),
    (lambda o: worker(o).update(hostNetwork=True), "hostNetwork"),
    (lambda o: worker(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "is the node's"),
    (lambda o: container(o).update(securityContext={"privileged": True}), "can gain privileges"),
    (lambda o: container(o)["securityContext"].update(capabilities={}), "keeps capabilities"),
    (lambda o: without(worker(o), "serviceAccountName"), "default service account"),
    (lambda o: without(worker(o), "automountServiceAccountToken"), "no use for it"),
    (lambda o: without(container(o), "livenessProbe"), "livenessProbe does not ask"),
    (lambda o: container(o)["startupProbe"]["httpGet"].update(port=8265), "startupProbe does not ask"),
    (lambda o: container(o).update(readinessProbe={}), "readinessProbe of its own"),
    (lambda o: worker(o)["volumes"][0].update(emptyDir={}), "/dev/shm"),
    (lambda o: worker(o)["volumes"][0]["emptyDir"].update(sizeLimit="15Gi"), "/dev/shm"),
    (lambda o: without(worker(o, 1), "tolerations"), "does not tolerate"),
    (lambda o: worker(o).update(tolerations=[{"key": "nvidia.com/gpu"}]), "wants no GPU"),
    (lambda o: spec(o)["headGroupSpec"].update(rayStartParams={}), "takes work"),
    (lambda o: without(head(o), "affinity"), "spot node"),
    (lambda o: without(spec(o)["headGroupSpec"]["template"]["metadata"], "annotations"), "may move the head"),
    (lambda o: spec(o)["headGroupSpec"].update(serviceType="NodePort"), "NodePort"),
    (lambda o: o.append({"kind": "Service", "metadata": {"name": "x"}, "spec": {"type": "NodePort"}}), "Service/x"),
    (lambda o: without(spec(o), "authOptions"), "authOptions.mode token"),
    (lambda o: spec(o)["autoscalerOptions"].update(version="v1"), "version v2"),
    (lambda o: without(spec(o)["autoscalerOptions"], "securityContext"), "autoscaler's container"),
    (lambda o: spec(o)["workerGroupSpecs"][0].update(replicas=99), "replicas outside"),
    (lambda o: without(worker(o, 1), "affinity"), "neither spot nor on-demand"),
    (lambda o: spec(o)["workerGroupSpecs"][2].update(priority=10), "not asked for first"),
]


@pytest.mark.parametrize(("mistake", "told"), POD_MISTAKES, ids=[each[1] for each in POD_MISTAKES])
def test_a_mistake_in_pods_is_found(rendered, mistake, told):
    objects, _ = rendered("gpu")
    mistake(objects)
    assert told in "\n".join(pod_problems(objects))


def policy(objects, name):
    return thing(objects, "NetworkPolicy", name)["spec"]


STEPWISE = "NewClusterWithIncrementalUpgrade"

REFERENCE_MISTAKES = [
    (reference_problems, lambda o: worker(o).update(serviceAccountName="x"), "ServiceAccount/x"),
    (reference_problems, lambda o: container(o).update(envFrom=[{"secretRef": {"name": "x"}}]), "Secret/x"),
    (reference_problems, lambda o: worker(o)["volumes"][1].update(configMap={"name": "x"}), "ConfigMap/x"),
    (
        reference_problems,
        lambda o: worker(o, 0, "RayService")["volumes"][-1].update(secret={"secretName": "x"}),
        "Secret/x",
    ),
    (reference_problems, lambda o: thing(o, "RoleBinding")["roleRef"].update(name="x"), "Role/x"),
    (reference_problems, lambda o: thing(o, "RoleBinding")["subjects"][0].update(name="x"), "ServiceAccount/x"),
    (selector_problems, lambda o: policy(o, "within-segray").update(podSelector={"matchLabels": {"a": "b"}}), "no pod"),
    (
        selector_problems,
        lambda o: thing(o, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(port="x"),
        "no port x",
    ),
    (selector_problems, lambda o: without(container(o), "ports"), "port serve is None"),
    (network_problems, lambda o: o.remove(thing(o, "NetworkPolicy", "default-deny")), "denies what no other allows"),
    (network_problems, lambda o: without(policy(o, "from-ingress")["ingress"][0], "from"), "lets everyone in"),
    (
        network_problems,
        lambda o: policy(o, "from-ingress").update(ingress=[]) or policy(o, "from-operator").update(ingress=[]),
        "lets callers in",
    ),
    (network_problems, lambda o: serving(o, "port: 8000", "port: 8001"), "listens on 8001"),
    (network_problems, lambda o: o.remove(thing(o, "NetworkPolicy", "from-operator")), "lets the operator"),
    (network_problems, lambda o: upgrade(o).update(type=STEPWISE), "in at the endpoint"),
    (network_problems, lambda o: upgrade(o).update(type=STEPWISE), "may talk to nobody"),
    (partial(version_problems, root=ROOT), lambda o: spec(o).update(rayVersion="2.59.0"), "rayVersion 2.59.0"),
    (partial(version_problems, root=ROOT), lambda o: container(o).update(image="segray:latest"), "does not say ray"),
]


@pytest.mark.parametrize(("check", "mistake", "told"), REFERENCE_MISTAKES, ids=[each[2] for each in REFERENCE_MISTAKES])
def test_what_names_nothing_is_found(rendered, check, mistake, told):
    objects, beside = rendered("gpu")
    mistake(objects)
    check = partial(check, beside=beside) if check in (reference_problems, selector_problems) else check
    assert told in "\n".join(check(objects))


JOB_MISTAKES = [
    (
        "gpu/jobs",
        lambda o: thing(o, "RayJob")["spec"].update(entrypoint="python jobs/label.py x"),
        "is not `python -m",
    ),
    (
        "gpu/jobs",
        lambda o: thing(o, "RayJob")["spec"].update(entrypoint="python -m jobs.lable x"),
        "no module jobs.lable",
    ),
    (
        "gpu/jobs",
        lambda o: thing(o, "RayJob")["spec"].update(entrypoint="python -m jobs.label /x.toml"),
        "no config is mounted",
    ),
    (
        "gpu/jobs",
        lambda o: thing(o, "RayJob")["spec"].update(entrypoint="python -m jobs.label /etc/segray/configs/train.toml"),
        "with a config of a train job",
    ),
    ("gpu/jobs", lambda o: config(o, "label.toml", "vit_h", "vit_x"), "sam.model"),
    ("gpu/jobs", lambda o: config(o, "label.toml", "num_workers = 8", "num_workers = 13"), "room for 12"),
    ("gpu/jobs", lambda o: config(o, "label.toml", "cpus = 10", "cpus = 13"), "room for 0"),
    ("gpu/jobs", lambda o: config(o, "label.toml", "memory_gib = 30", "memory_gib = 40"), "room for 0"),
    ("gpu/jobs", lambda o: spec(o, "RayJob", "segray-train")["workerGroupSpecs"].clear(), "room for 0"),
    ("gpu", lambda o: config(o, "serve.toml", "max_ongoing = 32", "max_ongoing = 2"), "can never fill"),
    ("gpu", lambda o: config(o, "serve.toml", "max = 8", "max = 80"), "room for"),
    ("gpu", keyless, "keys are off, and a RayService"),
    ("gpu", lambda o: serving(o, "serve.app:build", "serve.app:made"), "has no made"),
    ("gpu", lambda o: serving(o, "name: Student", "name: Teacher"), "no deployment Teacher"),
    ("gpu", lambda o: serving(o, "serve.toml", "server.toml"), "no config is mounted"),
    ("gpu", lambda o: container(o, 1, "RayService")["volumeMounts"].pop(), "keys' file"),
    ("gpu", lambda o: container(o, 1, "RayService")["env"].clear(), "RAY_SERVE_ENABLE_HA_PROXY is not"),
]


@pytest.mark.parametrize(("overlay", "mistake", "told"), JOB_MISTAKES, ids=[each[2] for each in JOB_MISTAKES])
def test_what_would_not_run_is_found(rendered, overlay, mistake, told):
    objects, beside = rendered(overlay)
    mistake([*objects, *beside])
    assert told in "\n".join(job_problems(objects, beside))


def test_a_kustomization_that_does_not_build_is_an_error(rendered, tmp_path):
    rendered("gpu")
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    (tmp_path / "k8s" / "base" / "cluster" / "raycluster.yaml").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        render(tmp_path / "k8s" / "overlays" / "gpu")


def wanted(objects, kind, workers, what):
    """What a cluster's pods ask for together: its head with the autoscaler, and workers of the first group."""
    cluster = spec(objects, kind)
    asked = [
        cluster["autoscalerOptions"]["resources"],
        cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"],
    ]
    asked += [container(objects, 0, kind)["resources"]] * workers
    return sum(quantity(each["requests"][what]) for each in asked)


@pytest.mark.parametrize(("what", "most"), [("cpu", 3.2), ("memory", 13 * 2**30)])
def test_cpu_dev_fits_a_laptops_cluster_that_also_runs_kubernetes(rendered, what, most):
    objects, _ = rendered("cpu-dev")
    endpoint = spec(objects, "RayService")["workerGroupSpecs"][0]["maxReplicas"]
    assert wanted(objects, "RayCluster", 0, what) + wanted(objects, "RayService", endpoint, what) <= most


def test_nothing_but_a_head_speaks_to_kubernetes(rendered):
    objects, _ = rendered("gpu")
    asking = {pod.role for pod in pods(objects) if pod.spec.get("automountServiceAccountToken") is not False}
    assert asking == {"head"}
    (role,) = of_kind(objects, "Role")
    verbs = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {
        ("pods", "get"),
        ("pods", "list"),
        ("pods", "watch"),
        ("rayclusters", "get"),
        ("rayclusters", "patch"),
    }


def test_the_examples_of_secrets_hold_none(rendered):
    _, beside = rendered("gpu")
    assert all(value == "" for secret in of_kind(beside, "Secret") for value in secret["stringData"].values())
