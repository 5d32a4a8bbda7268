"""All checks of one overlay, in one list."""

from collections.abc import Sequence
from pathlib import Path

from k8s.check.cel import rule_problems
from k8s.check.jobs import job_problems
from k8s.check.objects import Object, read, render
from k8s.check.operator import operator_problems
from k8s.check.pods import pod_problems
from k8s.check.references import network_problems, reference_problems, selector_problems, version_problems
from k8s.check.schemas import Crds, schema_problems

ROOT = Path(__file__).parents[2]
SECRETS = ROOT / "k8s" / "examples" / "secrets.yaml"


def problems(folder: Path, beside: Sequence[Path] = (), crds: Path | None = None) -> list[str]:
    """What is wrong with a kustomization; `beside` are those applied before it, `crds` a folder of KubeRay's."""
    there = [*read(SECRETS.read_text(encoding="utf-8")), *(each for one in beside for each in render(one))]
    return [f"{folder}: {each}" for each in object_problems(render(folder), there, crds)]


def object_problems(objects: Sequence[Object], beside: Sequence[Object], crds: Path | None) -> list[str]:
    """The same of rendered objects."""
    found = [
        *operator_problems(objects),
        *pod_problems(objects),
        *reference_problems(objects, beside),
        *selector_problems(objects, beside),
        *version_problems(objects, ROOT),
        *job_problems(objects, beside),
        *network_problems([*objects, *beside]),
    ]
    if crds is not None:
        known = Crds(crds)
        found = [*schema_problems(objects, known), *rule_problems(objects, known), *found]
    return found
