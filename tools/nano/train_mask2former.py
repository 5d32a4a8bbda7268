"""Train mask2former-nano, the student that ships with segray: `python -m tools.nano.train_mask2former --out DIR`.

On scenes of family A only, whose shapes and textures no reported result has, with an object's colour word for its
class: that queries learn in a few thousand steps, shapes they do not. The same command goes on where it was stopped; at
its end the package in segray/assets/weights is replaced (fp16).
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.demo import training
from segray.demo.coco import renamed, write_world
from segray.jobs.train import train
from segray.methods.config import TrainConfig
from segray.models.build import load_student
from segray.models.package import save_student

SCENES, VALIDATION_SCENES = 1500, 60
SEED, VALIDATION_SEED = 100_000, 60_000


def pretraining(out: Path, steps: int, start: str | None) -> TrainConfig:
    """The training, with its scenes drawn below `out`."""
    scenes = _by_colour(write_world(out / "train", "a", SCENES, seed=SEED))
    others = _by_colour(write_world(out / "val", "a", VALIDATION_SCENES, seed=VALIDATION_SEED))
    schedule = {**training.SCHEDULE, "steps": steps, "learning_rate": 6e-4, "warmup": 0.03}
    tables = {
        "job": "train",
        "method": {"kind": "supervised", "schedule": schedule},
        "data": {
            "labeled": training.coco(scenes.parent / "images", scenes),
            "validation": training.coco(others.parent / "images", others),
        },
        "runs": str(out / "runs"),
        "student": {**training.STUDENT, "start": start},
        "view": training.VIEW,
        "workers": {"num_workers": 0, "threads": 1},
        "intervals": {"log_every": 50, "checkpoint_every": 100, "evaluate_every": 500},
        "tracking": {"wandb": "off"},
    }
    return build(TrainConfig, tables, "pretraining")


def _by_colour(scenes: Path) -> Path:
    return renamed(scenes, lambda _, words: words["colour"])


def ship(package: str) -> None:
    """Put a trained student where `start = "nano"` finds it, in half precision."""
    student = load_student(package)
    student.settings = replace(student.settings, start=None)
    info = {"of": "family A of the procedural worlds", "by": "tools.nano.train_mask2former"}
    save_student(copy.deepcopy(student).half(), str(MASK2FORMER_NANO), info=info)


def main(
    out: Annotated[Path, typer.Option(help="Folder for scenes and runs.")],
    steps: Annotated[int, typer.Option(help="Updates in all.")] = 3000,
    start: Annotated[str | None, typer.Option(help="A student's folder to start from.")] = None,
) -> None:
    """Train, then replace the shipped weights."""
    done = train(pretraining(out, steps, start))[-1]
    typer.echo(f"AP on held-out scenes of family A: {100 * done.end['last']['ap']:.1f}")
    ship(done.folder.student("last"))


if __name__ == "__main__":
    typer.run(main)
