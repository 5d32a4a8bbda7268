"""The overlays as kustomize renders them, once; each test gets copies that it may break."""

from copy import deepcopy
from pathlib import Path

import pytest

from k8s.check.objects import read, render, renderer
from k8s.check.schemas import Crds

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "k8s" / "overlays"
CRDS = ROOT.parent / "shared" / "schemas" / "kuberay"
STANDING = {"gpu/jobs": "gpu", "kueue": "gpu", "cpu-dev/jobs": "cpu-dev"}
"""What must be applied before an overlay."""


@pytest.fixture(scope="session")
def rendered():
    """`rendered(overlay)` gives its objects and those beside it."""
    if renderer() is None:
        pytest.skip("neither kustomize nor kubectl is installed, which build the overlays")
    built = {}

    def objects(overlay):
        if overlay not in built:
            built[overlay] = render(OVERLAYS / overlay)
        return deepcopy(built[overlay])

    def give(overlay):
        secrets = read((ROOT / "k8s" / "examples" / "secrets.yaml").read_text(encoding="utf-8"))
        standing = STANDING.get(overlay)
        return objects(overlay), [*secrets, *(objects(standing) if standing else [])]

    return give


@pytest.fixture(scope="session")
def crds():
    if not CRDS.is_dir():
        pytest.skip(f"KubeRay's CRDs are not at {CRDS}")
    return Crds(CRDS)
