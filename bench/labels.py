"""What a trained teacher's labels are worth before and after refinement, on images whose truth it never saw.

    PYTHONPATH=platform:. python -m bench.labels TABLE SEED TEACHER [--images N] [--sam MODEL] [--json FILE]

TEACHER is a package of a run of that table and seed (`out/tables/runs/RUN/last`). `bench.refinement` asks the same of
masks of known quality.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from bench.table import Cell, config_of, prepared
from bench.table_data import DATA
from segray.config.sam import OriginalSamConfig
from segray.datasets.training_rows import TrainingRows
from segray.evaluation.instances import InstanceEvaluator
from segray.evaluation.pseudo_labels import LabelQuality
from segray.formats.registry import open_source
from segray.methods.config import TrainConfig
from segray.methods.s4m.config import S4M, CachedRefinement, PointRefinement, Refinement
from segray.methods.s4m.objective import StudentObjective
from segray.methods.s4m.refine import build_refiner
from segray.models.build import load_student
from segray.store.lookup import StoreLookup
from segray.training.plan import EvaluationRows

GATES = ((0.0, 0.0), (0.3, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.5), (0.5, 0.5), (0.5, 0.6))
"""min_teacher_iou, min_predicted_iou."""


def settings(truth: str) -> Iterator[Refinement | None]:
    """None, the true masks, every way of asking SAM, and every gate on three points with and without the box."""
    yield None
    yield CachedRefinement(store=truth)
    for distribution, box, points in product(("probability", "softmax"), (False, True), (1, 3, 9)):
        yield PointRefinement(distribution=distribution, box=box, num_points=points)
    for (teacher, predicted), box in product(GATES[1:], (False, True)):
        yield PointRefinement(
            distribution="softmax", box=box, num_points=3, min_teacher_iou=teacher, min_predicted_iou=predicted
        )


def quality(config: TrainConfig, package: str, refinement: Refinement | None, rows: TrainingRows) -> LabelQuality:
    """Of the labels that training would learn from."""
    assert isinstance(config.method, S4M)
    device = torch.device("cpu")
    masks = StoreLookup(refinement.store).masks if isinstance(refinement, CachedRefinement) else lambda _: None
    refiner = build_refiner(refinement, config.method.sam, device, masks)
    student, teacher = load_student(package), load_student(package)
    objective = StudentObjective(student, teacher, config.method.student, refiner)
    evaluator = InstanceEvaluator(config, student.classes, EvaluationRows(validation=None, hidden=rows))
    found = evaluator.shard(objective, rank=0, world=1, final=True).labels
    assert found is not None
    return found.after()


def main() -> None:
    """Print one line per way of refinement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("seed", type=int)
    parser.add_argument("teacher")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--sam", default="nano")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cell = Cell(given.table, "gd-pr", given.seed, DATA[given.table].rates[0])
    config = config_of(cell)
    config = replace(config, intervals=replace(config.intervals, evaluate_images=given.images))
    assert isinstance(config.method, S4M)
    assert config.data.hidden is not None
    config = replace(config, method=replace(config.method, sam=OriginalSamConfig(model=given.sam)))
    truth = prepared(cell)["stores"]["truth"]
    with tempfile.TemporaryDirectory() as folder:
        rows = TrainingRows.build(open_source(config.data.hidden), Path(folder) / "hidden.arrow")
        lines = [_line(config, given.teacher, one, rows) for one in settings(truth)]
    if given.json:
        given.json.write_text(json.dumps(lines, indent=1))


def _line(config: TrainConfig, package: str, refinement: Refinement | None, rows: TrainingRows) -> dict[str, Any]:
    found = quality(config, package, refinement, rows)
    asked = {} if refinement is None else {name: value for name, value in vars(refinement).items() if name != "kind"}
    line = asked | {name: round(value, 3) for name, value in vars(found).items()}
    print(line, flush=True)
    return line


if __name__ == "__main__":
    main()
