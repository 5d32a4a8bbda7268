"""Each rule that KubeRay's CRDs carry is evaluated, and each one fires on what it is about."""

import pytest

from k8s.check.cel import broken, rule_problems, rules
from k8s.check.schemas import CRD_KINDS

OVERLAYS = ("gpu", "gpu/jobs", "cpu-dev", "cpu-dev/jobs", "kueue", "incremental")
SUCCEEDED = {"jobStatus": "SUCCEEDED"}
RULE = {"policy": "DeleteSelf", "condition": SUCCEEDED}


def deletion(**strategy):
    return {"spec": {"deletionStrategy": strategy}}


def condition(**given):
    return deletion(deletionRules=[{"policy": "DeleteSelf", "condition": given}])


def managed(by):
    return {"spec": {"managedBy": by}}


def backend(by, *below):
    found = {"gcsFaultToleranceOptions": {"backend": by}}
    for key in reversed(("spec", *below)):
        found = {key: found}
    return found


def managed_cluster(key, by):
    return {"spec": {key: {"managedBy": by}}}


OPERATOR, QUEUE = "ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"
BOTH, EITHER = "cannot be used together within the same deletionStrategy", "requires either BOTH"

MISTAKES = [
    ("RayCluster", managed("me"), None, "must be either"),
    ("RayCluster", managed(QUEUE), managed(OPERATOR), "managedBy field is immutable"),
    ("RayCluster", backend("redis"), backend("rocksdb"), "backend is immutable"),
    ("RayJob", managed("me"), None, "must be either"),
    ("RayJob", managed(QUEUE), managed(OPERATOR), "managedBy field is immutable"),
    ("RayJob", managed_cluster("rayClusterSpec", "me"), None, "must be either"),
    (
        "RayJob",
        managed_cluster("rayClusterSpec", QUEUE),
        managed_cluster("rayClusterSpec", OPERATOR),
        "managedBy field is immutable",
    ),
    ("RayJob", backend("redis", "rayClusterSpec"), backend("rocksdb", "rayClusterSpec"), "backend is immutable"),
    ("RayJob", deletion(onSuccess={}, onFailure={}, deletionRules=[RULE]), None, BOTH),
    ("RayJob", deletion(onSuccess={}), None, EITHER),
    ("RayJob", condition(jobStatus="FAILED", jobDeploymentStatus="Failed"), None, "within the same deletion condition"),
    ("RayJob", condition(ttlSeconds=5), None, "requires either the JobStatus"),
    ("RayService", managed("me"), None, "must be either"),
    ("RayService", managed(QUEUE), managed(OPERATOR), "managedBy field is immutable"),
    ("RayService", managed_cluster("rayClusterConfig", "me"), None, "must be either"),
    (
        "RayService",
        managed_cluster("rayClusterConfig", QUEUE),
        managed_cluster("rayClusterConfig", OPERATOR),
        "managedBy field is immutable",
    ),
    (
        "RayService",
        backend("redis", "rayClusterConfig"),
        backend("rocksdb", "rayClusterConfig"),
        "backend is immutable",
    ),
]


@pytest.mark.parametrize(("kind", "new", "old", "told"), MISTAKES)
def test_a_rule_refuses_what_it_is_about(crds, kind, new, old, told):
    (rule,) = broken(crds.schema(kind), new, old)
    assert told in rule.message


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("RayJob", deletion(deletionRules=[RULE])),
        ("RayJob", deletion(onSuccess={}, onFailure={})),
        ("RayCluster", managed(QUEUE)),
    ],
)
def test_a_rule_lets_pass_what_is_right(crds, kind, allowed):
    assert broken(crds.schema(kind), allowed, allowed) == []


def test_every_rule_of_the_schemas_is_seen_to_fire(crds):
    there = {(kind, rule) for kind in CRD_KINDS for rule in rules(crds.schema(kind))}
    fired = {(kind, rule) for kind, new, old, _ in MISTAKES for rule in broken(crds.schema(kind), new, old)}
    assert len(there) >= 17
    assert there == fired


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_overlay_breaks_a_rule(rendered, crds, overlay):
    assert rule_problems(rendered(overlay)[0], crds) == []


def test_a_broken_rule_of_an_object_is_told_with_its_place(rendered, crds):
    objects, _ = rendered("gpu/jobs")
    objects[0]["spec"]["deletionStrategy"]["onSuccess"] = {"policy": "DeleteSelf"}
    (problem,) = rule_problems(objects, crds)
    assert problem.startswith("RayJob/segray-label: spec.deletionStrategy: legacy policies")
