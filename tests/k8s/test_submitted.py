"""What `segray submit --k8s` prints is held to the same as the manifests."""

from pathlib import Path

import pytest

from k8s.check.all import object_problems
from k8s.check.cel import rule_problems
from k8s.check.objects import read
from k8s.check.schemas import schema_problems
from segray.jobs.kubernetes.rayjob import render
from segray.jobs.submission import Submission

OVERLAYS = Path(__file__).parents[2] / "k8s" / "overlays"


@pytest.fixture
def submitted():
    """`submitted(kind, device)` gives the objects of a job of the overlay's config."""

    def give(kind, device):
        config = OVERLAYS / {"gpu": "gpu", "cpu": "cpu-dev"}[device] / "configs" / f"{kind}.toml"
        return read(render(Submission.load(kind, config), cluster=device))

    return give


@pytest.mark.parametrize("kind", ["label", "train"])
@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_a_submitted_job_has_no_problems(submitted, rendered, kind, device):
    standing, secrets = rendered({"gpu": "gpu", "cpu": "cpu-dev"}[device])
    assert object_problems(submitted(kind, device), [*standing, *secrets], crds=None) == []


def test_the_schemas_know_a_submitted_job(submitted, crds):
    objects = submitted("label", "gpu")
    assert schema_problems(objects, crds) + rule_problems(objects, crds) == []
