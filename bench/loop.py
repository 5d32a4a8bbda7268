"""One round of predict, correct and train on family B: `python -m bench.loop`.

A student learns from a few labeled scenes and predicts on all. The truth of some further scenes stands for a person's
corrections. The next student starts from the first one and learns from what came out; beside it stand those that the
same number of steps gives without the predictions, and without the corrections too. AP on scenes that nobody learned
from.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import segray
from segray.config import base
from segray.demo.coco import write_world
from segray.jobs import label as label_job
from segray.jobs import train as train_job
from segray.labels.predicting.config import PredictConfig
from segray.methods.config import TrainConfig

CONFIG: Final = Path(__file__).parents[1] / "configs" / "s4m" / "family-b.toml"
"""Whose student and views are taken; the method is supervised training."""
_VALIDATION_SEED: Final = 1000


def main(
    *,
    number: Annotated[int, typer.Option(help="Scenes to train on.")] = 200,
    labeled: Annotated[int, typer.Option(help="Scenes of them that are labeled.")] = 40,
    corrected: Annotated[int, typer.Option(help="Further scenes that a person corrects.")] = 40,
    validation: Annotated[int, typer.Option(help="Scenes to measure on.")] = 60,
    steps: Annotated[int, typer.Option(help="Steps of each training.")] = 200,
    score_threshold: Annotated[float, typer.Option(help="Score from which predictions are labels.")] = 0.5,
    seed: int = 0,
) -> None:
    """Print a line for each student."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        world = write_world(folder / "train", "b", number, seed=seed * number)
        truth = write_world(folder / "val", "b", validation, seed=_VALIDATION_SEED)
        taught, fixed, both = (
            _part(world, name, first, last)
            for name, first, last in (
                ("labeled", 0, labeled),
                ("fixed", labeled, labeled + corrected),
                ("both", 0, labeled + corrected),
            )
        )
        first = _train(taught, steps, seed, 2e-3, "nano")
        _say(f"{labeled} labeled scenes", first, truth, folder)
        store = _predict(world, first, score_threshold)
        found = store.info()
        print(f"predicted: {found.masks} objects in {found.images} scenes", flush=True)
        round_two = folder / "train" / "round-2.json"
        segray.export(store, "coco", round_two, corrections=[str(taught), str(fixed)])
        rows = {
            "the same scenes for as many steps more": taught,
            f"and {corrected} corrected scenes": both,
            f"and predictions on the other {number - labeled - corrected}": round_two,
        }
        for name, annotations in rows.items():
            _say(name, _train(annotations, steps, seed, 1e-3, first), truth, folder)


def _part(world: Path, name: str, first: int, last: int) -> Path:
    """Write the annotations of some images of a COCO file beside it."""
    document = json.loads(world.read_text())
    document["images"] = document["images"][first:last]
    ids = {one["id"] for one in document["images"]}
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] in ids]
    path = world.with_name(f"{name}.json")
    path.write_text(json.dumps(document))
    return path


def _train(annotations: Path, steps: int, seed: int, rate: float, start: str) -> str:
    """Return the folder of the student at the end of a supervised training."""
    tables = base.read(CONFIG)
    schedule = {"steps": steps, "learning_rate": rate, **{name: _SCHEDULE[name] for name in _SCHEDULE}}
    tables["method"] = {"kind": "supervised", "schedule": schedule}
    tables["data"] = {"labeled": _coco(annotations)}
    tables |= {"runs": str(annotations.parents[1] / "runs"), "seed": seed, "workers": {"num_workers": 0}}
    tables["student"]["start"] = start
    results = train_job.train(base.build(TrainConfig, tables, "bench.loop"))
    return results[-1].folder.student("last", "student")


_SCHEDULE: Final[dict[str, Any]] = {"labeled_batch": 8, "backbone_factor": 0.3, "clip_norm": 1.0, "warmup": 0.05}


def _predict(world: Path, student: str, score_threshold: float) -> segray.Store:
    tables = {
        "job": "predict",
        "source": {"kind": "folder", "uri": str(world.parent / "images")},
        "student": {"uri": student},
        "score_threshold": score_threshold,
        "stores": str(world.parents[1] / "stores"),
        "workers": {"num_workers": 0},
    }
    config = base.build(PredictConfig, tables, "bench.loop")
    return segray.Store.open(label_job.label(config).store)


def _say(name: str, student: str, truth: Path, folder: Path) -> None:
    figures = segray.evaluate(student, _coco(truth), out=str(folder / "figures"), progress=False)
    print(f"{name}: AP {figures['ap']:.1%}, AP50 {figures['ap50']:.1%}", flush=True)


def _coco(annotations: Path) -> dict[str, str]:
    return {"kind": "coco", "uri": str(annotations.parent / "images"), "annotations": str(annotations)}


if __name__ == "__main__":
    typer.run(main)
