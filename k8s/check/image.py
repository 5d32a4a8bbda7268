"""The image without a container engine: `python -m k8s.check.image FOLDER` follows k8s/Dockerfile in an empty folder.

FROM is a new virtual environment with the same Ray, COPY, RUN, ENV and WORKDIR are done below the folder. Then what the
pods would import is imported there. What it cannot tell: whether the base image's own packages agree.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

from k8s.check.dockerfile import Dockerfile, Step, parse
from k8s.check.references import ray_version

ROOT = Path(__file__).parents[2]
MODULES = ("jobs.label", "jobs.train", "jobs.evaluate", "serve.app")


@dataclass
class Stage:
    """The image's file system as far as it is made."""

    root: Path
    folder: Path = field(init=False)
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.root
        binaries = self.root / "venv" / "bin"
        kept = {key: value for key, value in os.environ.items() if key in ("HOME", "LANG") or key.startswith("PIP_")}
        self.environment = kept | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *command: str) -> None:
        """A command as the image would run it."""
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True)

    def inside(self, path: str) -> Path:
        """Where a path of the image lies."""
        return self.root / path.lstrip("/") if path.startswith("/") else self.folder / path


def build(image: Dockerfile, root: Path) -> Stage:
    """Follow the steps."""
    venv.create(root / "venv", with_pip=True)
    stage = Stage(root)
    stage.run("python", "-m", "pip", "install", "--quiet", f"ray=={ray_version(ROOT / 'constraints.txt')}")
    for step in image.steps:
        _follow(step, stage, image.context)
    return stage


def _follow(step: Step, stage: Stage, context: Path) -> None:
    match step.instruction:
        case "WORKDIR":
            stage.folder = stage.inside(step.value)
            stage.folder.mkdir(parents=True)
        case "COPY":
            *sources, target = step.words
            for source in sources:
                _copy(context / source, stage.inside(target), many=target.endswith("/"))
        case "RUN":
            stage.run("bash", "-euo", "pipefail", "-c", step.value)
        case "ENV":
            for word in shlex.split(step.value):
                key, _, value = word.partition("=")
                stage.environment[key] = value.replace("/opt/", f"{stage.root}/opt/")


def _copy(source: Path, target: Path, *, many: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target / source.name if many else target)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m k8s.check.image", description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty or missing folder; several GB go there")
    folder = parser.parse_args().folder.absolute()
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    image = parse((ROOT / "k8s" / "Dockerfile").read_text(encoding="utf-8"), ROOT)
    stage = build(image, folder)
    stage.run("python", "-c", f"import {', '.join(MODULES)}, segray; print(segray.__file__)")
    for config in sorted((ROOT / "k8s" / "overlays").glob("*/configs/*.toml")):
        stage.run("python", "-m", "segray.cli", "check", "--no-data", str(config))
    sys.stdout.write(f"installed and imported below {folder}\n")


if __name__ == "__main__":
    main()
