"""`python -m k8s.check FOLDER ...`: every problem of the overlays, one a line; exit status 1 if there are any."""

import argparse
import sys
from pathlib import Path

from k8s.check.all import problems


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m k8s.check", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="kustomizations, such as k8s/overlays/gpu")
    parser.add_argument("--crds", type=Path, help="folder of KubeRay's CRDs, ray.io_rayclusters.yaml and so on")
    parser.add_argument("--beside", nargs="*", default=[], type=Path, help="kustomizations applied before")
    given = parser.parse_args()
    found = [each for folder in given.folders for each in problems(folder, given.beside, given.crds)]
    sys.stdout.writelines(f"{each}\n" for each in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
