"""Tables of methods, cell by cell: `python -m bench.table TABLE [--minutes M] [--jobs N] [--show]`.

A cell is one row of a table with one seed: a training, whose line is appended to docs/tables/TABLE.jsonl when it ends.
What has a line is not run again, so a table can be computed in several sittings; a cell that was cut short goes on from
its checkpoint. Rows differ only in the method: equal student updates, data, views, initial weights and seeds.

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

from bench.table_data import DATA, Task
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
    kind: str = "s4m"
    teacher: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] | None = field(default_factory=dict)
    """None: only the teacher is trained."""


POINTS = {"kind": "points"}
GATED = {"kind": "points", "min_teacher_iou": 0.5, "min_predicted_iou": 0.5}
ARP, SD = training.ARP, training.DISTILLATION
ROWS: dict[str, Row] = {
    "supervised": Row("supervised", kind="supervised"),
    "teacher-sd": Row("teacher: supervised + SD", teacher={"distillation": SD}, student=None),
    "gd": Row("GuidedDistillation"),
    "gd-pr": Row("GuidedDistillation + PR", student={"refinement": POINTS}),
    "s4m": Row("S4M (SD + PR + ARP)", teacher={"distillation": SD}, student={"refinement": POINTS, "arp": ARP}),
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
        print(text(DATA[given.table], {name: row.title for name, row in ROWS.items()}, read(given.table), chosen_rate))
    elif given.cell:
        run(given.table, Cell(given.cell[0], int(given.cell[1]), float(given.cell[2])))
    else:
        run_missing(given)


def read(table: str) -> list[dict[str, Any]]:
    """The table's lines so far."""
    path = LINES / f"{table}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def chosen_rate(lines: Sequence[Mapping[str, Any]], row: str) -> float:
    """The best rate on the tuning images, once all have been tried; until then the first."""
    tuned = {line["rate"]: line["ap"] for line in lines if line["row"] == row and line["seed"] == TUNING_SEED}
    return max(tuned, key=tuned.__getitem__) if set(tuned) >= set(RATES) else RATES[0]


def run_missing(given: argparse.Namespace) -> None:
    """Cells without a line, a few at a time, each in a process of its own."""
    began, running = time.monotonic(), list[subprocess.Popen[bytes]]()
    tried: set[tuple[str, int, float]] = set()
    while True:
        running = [process for process in running if process.poll() is None]
        late = time.monotonic() - began > given.minutes * 60
        cell = None if late or len(running) >= given.jobs else _next(given, tried)
        if cell is not None:
            tried.add(cell.key)
            print(f"{given.table}: {cell.row}, seed {cell.seed}, rate {cell.rate:g}", flush=True)
            command = [sys.executable, "-m", "bench.table", given.table, "--cell"]
            running.append(subprocess.Popen([*command, cell.row, str(cell.seed), str(cell.rate)]))
        elif not running:
            return
        else:
            time.sleep(1)


def _next(given: argparse.Namespace, tried: set[tuple[str, int, float]]) -> Cell | None:
    """The first cell that has no line yet; all rows of a seed before the next seed."""
    lines = read(given.table)
    done = {(line["row"], line["seed"], line["rate"]) for line in lines} | tried
    wanted = [Cell(row, TUNING_SEED, rate) for row in given.rows for rate in RATES] if given.tune else []
    wanted += [Cell(row, seed, chosen_rate(lines, row)) for seed in given.seeds for row in given.rows]
    return next((cell for cell in wanted if cell.key not in done), None)


def config_of(task: Task, cell: Cell) -> TrainConfig:
    """The cell's training."""
    row, data = ROWS[cell.row], task.prepare(OUT / "data", cell.seed, tuning=cell.seed == TUNING_SEED)
    schedule = {**task.schedule, "learning_rate": cell.rate}
    recipe: dict[str, Any] = {"kind": row.kind, "schedule": schedule}
    if row.kind == "s4m":
        student = {"refinement": None, "arp": None, **(row.student or {}), "schedule": schedule, "ema": task.ema}
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
    task = DATA[table]
    until = "teacher" if ROWS[cell.row].student is None else None
    result = train(config_of(task, cell), until=until)[-1]
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
