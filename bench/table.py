"""Tables of methods, cell by cell: `python -m bench.table TABLE [--minutes M] [--jobs N] [--show]`.

A cell is one row of a table with one seed: a training, whose line is appended to docs/tables/TABLE.jsonl when it ends.
What has a line is not run again, so a table can be computed in several sittings; a cell that was cut short goes on
from its checkpoint. Rows differ only in the method: equal student updates, data, views and starting weights; class
heads, which are drawn, differ between stages.

The learning rate of each row is its own: the best of RATES on tuning images (seed 100), once those cells are there; the
middle one until then, and cells of another rate than the tuned one count no more.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.table_data import DATA, true_masks
from bench.table_text import text
from segray.config.base import build
from segray.config.train import TrainConfig
from segray.demo import training
from segray.jobs.train import train
from segray.train.metrics import read_metrics

LINES = Path("docs/tables")
OUT = Path("out/tables")
RATES = (5e-4, 2.5e-4, 1e-3)
"""The first counts until a row's tuning cells are there."""
TUNING_SEED = 100
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Row:
    """A method: what of the recipe's tables is its own."""

    title: str
    teacher: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] | None = field(default_factory=dict)
    """None: only the teacher is trained."""


POINTS = training.REFINEMENT
GATED = {**POINTS, "min_teacher_iou": 0.5, "min_predicted_iou": 0.5}
TRUE = {"kind": "cached"}
"""What a perfect SAM would make of the teacher's masks: the true one, where they overlap by half."""
PAPERS = {"target_stride": 4, "unlabeled_weight": 2.0, "ema": {"half_life": 30, "burn_in": 0.5}}
"""Constants that do not suit nano runs; the other rows have those of `training`."""
ARP, SD = training.ARP, training.DISTILLATION
ROWS: dict[str, Row] = {
    "supervised": Row("supervised", student=None),
    "teacher-sd": Row("teacher: supervised + SD", teacher={"distillation": SD}, student=None),
    "gd": Row("GuidedDistillation"),
    "gd-papers": Row("GuidedDistillation, papers' constants", student=PAPERS),
    "gd-pr": Row("GuidedDistillation + PR", student={"refinement": POINTS}),
    "s4m": Row("S4M (SD + PR + ARP)", teacher={"distillation": SD}, student={"refinement": POINTS, "arp": ARP}),
    "s4m-true": Row("S4M, true masks", teacher={"distillation": SD}, student={"refinement": TRUE, "arp": ARP}),
    "gd-pr-gated": Row("GuidedDistillation + gated PR", student={"refinement": GATED}),
    "s4m-gated": Row("S4M, gated PR", teacher={"distillation": SD}, student={"refinement": GATED, "arp": ARP}),
}


@dataclass(frozen=True)
class Cell:
    """One training."""

    row: str
    seed: int
    rate: float

    @property
    def key(self) -> tuple[str, int, float]:
        """What makes two cells the same."""
        return self.row, self.seed, self.rate

    @property
    def teacher(self) -> tuple[str, int, float]:
        """What makes two cells have the same first run."""
        return f"{sorted(ROWS[self.row].teacher)}", self.seed, self.rate


def main() -> None:
    """Run what is missing, or show what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=sorted(DATA))
    parser.add_argument("--show", action="store_true", help="print the table as Markdown and end")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after this time")
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side, one thread each")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--tune", action="store_true", help="run the tuning cells first")
    parser.add_argument("--cell", nargs=3, metavar=("ROW", "SEED", "RATE"), help="run one cell in this process")
    given = parser.parse_args()
    if given.show:
        print(shown(given.table))
    elif given.cell:
        run(given.table, Cell(given.cell[0], int(given.cell[1]), float(given.cell[2])))
    else:
        run_missing(given)


def shown(table: str) -> str:
    """The table so far, as Markdown."""
    tuning = read(DATA[table].rates)
    rates = {name: chosen_rate(tuning, name) for name in ROWS}
    return text(DATA[table], {name: row.title for name, row in ROWS.items()}, read(table), rates)


def read(table: str) -> list[dict[str, Any]]:
    """The table's lines so far."""
    path = LINES / f"{table}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def chosen_rate(lines: Sequence[Mapping[str, Any]], row: str) -> float:
    """The best rate on the tuning images, once all have been tried; until then the first."""
    tuned = {line["rate"]: line["ap"] for line in lines if line["row"] == row and line["seed"] == TUNING_SEED}
    return max(tuned, key=tuned.__getitem__) if set(tuned) >= set(RATES) else RATES[0]


def run_missing(given: argparse.Namespace) -> None:
    """Cells without a line, a few at a time, each in a process of its own: tuning first, then seed after seed."""
    began = time.monotonic()
    if given.tune:
        run_all(given, [Cell(row, TUNING_SEED, rate) for row in given.rows for rate in RATES], began)
    lines = read(DATA[given.table].rates)
    run_all(given, [Cell(row, seed, chosen_rate(lines, row)) for seed in given.seeds for row in given.rows], began)


def run_all(given: argparse.Namespace, wanted: Sequence[Cell], began: float) -> None:
    """These cells, but for those that have a line."""
    done = {(line["row"], line["seed"], line["rate"]) for line in read(given.table)}
    waiting = [cell for cell in wanted if cell.key not in done]
    running: dict[subprocess.Popen[bytes], Cell] = {}
    while waiting or running:
        running = {process: cell for process, cell in running.items() if process.poll() is None}
        if time.monotonic() - began > given.minutes * 60:
            waiting = []
        cell = _startable(waiting, list(running.values())) if len(running) < given.jobs else None
        if cell is None:
            time.sleep(1)
            continue
        waiting.remove(cell)
        prepare(given.table, cell)
        print(f"{given.table}: {cell.row}, seed {cell.seed}, rate {cell.rate:g}", flush=True)
        command = [sys.executable, "-m", "bench.table", given.table, "--cell"]
        running[subprocess.Popen([*command, cell.row, str(cell.seed), str(cell.rate)])] = cell


def _startable(waiting: Sequence[Cell], running: Sequence[Cell]) -> Cell | None:
    """The first cell that shares no teacher with one that runs: the two would train it twice."""
    taken = {cell.teacher for cell in running}
    return next((cell for cell in waiting if cell.teacher not in taken), None)


def prepare(table: str, cell: Cell) -> None:
    """Draw and split what the cell learns from, once, and leave its `data` table beside."""
    path = data_path(table, cell)
    if not path.exists():
        tables = DATA[table].prepare(OUT / "data", cell.seed, tuning=cell.seed == TUNING_SEED)
        path.write_text(json.dumps(tables))


def data_path(table: str, cell: Cell) -> Path:
    """Where `prepare` leaves it."""
    return OUT / "data" / f"{table}-{cell.seed}.json"


def config_of(table: str, cell: Cell) -> TrainConfig:
    """The cell's training."""
    row, task, data = ROWS[cell.row], DATA[table], json.loads(data_path(table, cell).read_text())
    schedule = {**task.schedule, "learning_rate": cell.rate}
    student = {"schedule": schedule, "refinement": None, "arp": None, **training.STUDENT_RUN, **(row.student or {})}
    if student["refinement"] is TRUE:
        student["refinement"] = TRUE | {"store": true_masks(OUT / "data" / "stores", data["unlabeled"])}
    recipe = {
        "kind": "s4m",
        "teacher": {"distillation": None, **row.teacher, "schedule": schedule},
        "student": student,
    }
    tables = {
        "job": "train",
        "recipe": recipe,
        "data": data,
        "runs": str(OUT / "runs"),
        "seed": cell.seed,
        "student": task.student,
        "view": task.view,
        "device": "auto",
        "workers": {"count": 0, "torch_threads": 1},
        "rhythm": {"log_every": 50, "checkpoint_every": 100},
        "tracking": {"wandb": "off"},
    }
    return build(TrainConfig, tables, f"cell {cell.key}")


def run(table: str, cell: Cell) -> None:
    """Train, and append the line."""
    prepare(table, cell)
    until = "teacher" if ROWS[cell.row].student is None else None
    result = train(config_of(table, cell), until=until)[-1]
    acted: dict[str, list[float]] = {}
    for line in read_metrics(result.folder.uri):
        for name in ACTIONS:
            if line["kind"] == "train" and line.get(name) is not None:
                acted.setdefault(name, []).append(line[name])
    figures = {name: round(value, 5) for name, value in result.end["last"].items()}
    line = {
        "row": cell.row,
        "seed": cell.seed,
        "rate": cell.rate,
        "ap": figures["ap"],
        "steps": result.end["step"],
        "figures": figures,
        "acted": {name: round(sum(values) / len(values), 4) for name, values in acted.items()},
        "seconds": round(result.end["seconds"], 1),
        "run": result.folder.name,
        "machine": f"{platform.machine()}, 1 thread",
    }
    LINES.mkdir(parents=True, exist_ok=True)
    with (LINES / f"{table}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


ACTIONS = (
    "labels_per_image",
    "images_labeled",
    "masks_replaced",
    "images_refined",
    "iou_with_teacher",
    "pasted_per_image",
    "images_pasted_into",
    "teacher_distance",
)
"""How often a method's components acted, means over the run."""

if __name__ == "__main__":
    main()
