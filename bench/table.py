"""Tables of methods, cell by cell: `python -m bench.table TABLE [--minutes M] [--jobs N] [--show]`.

A cell is one row of a table with one seed: a training, whose line is appended to docs/tables/TABLE.jsonl when it ends.
What has a line is not run again, so a table can be computed in several sittings; a cell that was cut short goes on
from its checkpoint. Rows differ only in the method: equal student updates, data, views and starting weights; class
heads, which are drawn, differ between stages.

The learning rate of each row is its own: the best of its table's on tuning images (seed 100), once those cells are
there; the first one until then, and cells of another rate than the tuned one count no more.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.table_data import DATA
from bench.table_text import ACTIONS, Rate, text
from segray import keyed_random, metric_names
from segray.config.base import build, fingerprint, overridden
from segray.demo import labeling
from segray.evaluation.average_precision import AveragePrecision
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.jobs.train import train
from segray.labels.stages.truth import class_maps
from segray.masks.instances import Instances
from segray.masks.mean_iou import MeanIou
from segray.masks.semantic import BACKGROUND
from segray.methods.config import TrainConfig
from segray.training.runs.metrics import read_metrics

LINES = Path("docs/tables")
OUT = Path("out/tables")
TUNING_SEED = 100
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Cell:
    """One training of a table."""

    table: str
    row: str
    seed: int
    rate: float

    @property
    def key(self) -> tuple[str, int, float]:
        """What makes two cells the same."""
        return self.row, self.seed, self.rate

    @property
    def first(self) -> tuple[str, int, float]:
        """What makes two cells have the same first run."""
        return DATA[self.table].rows[self.row].first or self.row, self.seed, self.rate


def main() -> None:
    """Run what is missing, or show what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=sorted(DATA))
    parser.add_argument("--show", action="store_true", help="print the table as Markdown and end")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after this time")
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side, one thread each")
    parser.add_argument("--rows", nargs="*", help="only these; all where none is named")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--tune", action="store_true", help="run the tuning cells first")
    parser.add_argument("--cell", nargs=3, metavar=("ROW", "SEED", "RATE"), help="run one cell in this process")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="try it with these; leaves no line")
    given = parser.parse_args()
    strange = set(given.rows or ()) - set(DATA[given.table].rows)
    if strange:
        parser.error(f"{given.table} has no rows {sorted(strange)}, but {list(DATA[given.table].rows)}")
    if given.show:
        print(shown(given.table))
    elif given.cell:
        cell = Cell(given.table, given.cell[0], int(given.cell[1]), float(given.cell[2]))
        line = json.dumps(run(cell, given.set))
        if given.set:
            print(line)
            return
        LINES.mkdir(parents=True, exist_ok=True)
        with (LINES / f"{given.table}.jsonl").open("a") as file:
            file.write(line + "\n")
    else:
        run_missing(given)


def shown(table: str) -> str:
    """The table so far, as Markdown."""
    rates = {name: Rate(chosen_rate(table, name), tuned=is_tuned(table, name)) for name in DATA[table].rows}
    return text(DATA[table], read(table), rates, chance=by_chance(table))


def background_alone(table: str) -> tuple[str, float]:
    """mIoU on the validation images of a map that is all background: what is to be had by chance."""
    validation = prepared(Cell(table, "", SEEDS[0], 0.0))["data"]["validation"]
    source = CocoSource(uri=validation["uri"], annotations=validation["annotations"])
    classes = (BACKGROUND, *open_source(source).classes)
    gathered = MeanIou(classes)
    for _, true in class_maps(source, classes):
        gathered.add(np.zeros_like(true), true)
    return "all background", gathered.result().miou


def others_masks(table: str) -> tuple[str, float]:
    """AP on the validation images of the true masks of labeled ones, drawn at random: what is to be had by chance."""
    data = prepared(Cell(table, "", SEEDS[0], 0.0))["data"]
    labeled, validation = (
        open_source(CocoSource(uri=data[name]["uri"], annotations=data[name]["annotations"]))
        for name in ("labeled", "validation")
    )
    known = [labeled.instances(row.image_id) for row in labeled.rows()]
    gathered = AveragePrecision(validation.classes, max_dets=400)
    for row in validation.rows():
        rng = keyed_random.rng(0, "chance", row.image_id)
        true, drawn = validation.instances(row.image_id), known[int(rng.integers(len(known)))]
        assert true is not None
        assert drawn is not None
        size = true.size_hw[::-1]
        masks = [cv2.resize(one.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for one in drawn.to_masks()]
        found = np.reshape(masks, (len(masks), *true.size_hw)).astype(bool)
        scores = rng.random(len(masks)).astype(np.float32)
        guess = Instances.from_masks(found, provenance="chance", classes=drawn.classes, scores=scores)
        gathered.add(row.image_id, guess, true)
    return "masks of other images", gathered.result().ap


def by_chance(table: str) -> tuple[str, float]:
    """The row without a training, computed once and kept beside the tables' lines."""
    path = LINES / "chance.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    if table not in kept:
        kept[table] = others_masks(table) if DATA[table].metric == metric_names.AP else background_alone(table)
        path.write_text(json.dumps(kept, indent=1) + "\n")
    title, figure = kept[table]
    return title, figure


def read(table: str) -> list[dict[str, Any]]:
    """The table's lines so far."""
    path = LINES / f"{table}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def chosen_rate(table: str, row: str) -> float:
    """The best rate on the tuning images, once all have been tried; until then the first."""
    found = tried(table, row)
    return max(found, key=found.__getitem__) if is_tuned(table, row) else DATA[table].rates[0]


def is_tuned(table: str, row: str) -> bool:
    """Whether all rates were tried."""
    return set(tried(table, row)) >= set(DATA[table].rates)


def tried(table: str, row: str) -> dict[float, float]:
    """What each rate gave on the tuning images."""
    task = DATA[table]
    lines = [line for one in task.tuned_on for line in read(one)]
    return {one["rate"]: one[task.metric] for one in lines if one["row"] == row and one["seed"] == TUNING_SEED}


def run_missing(given: argparse.Namespace) -> None:
    """Cells without a line, a few at a time, each in a process of its own: tuning first, then seed after seed."""
    began = time.monotonic()
    table, rows = given.table, given.rows or list(DATA[given.table].rows)
    if given.tune:
        run_all(given, [Cell(table, row, TUNING_SEED, rate) for row in rows for rate in DATA[table].rates], began)
    run_all(given, [Cell(table, row, seed, chosen_rate(table, row)) for seed in given.seeds for row in rows], began)


def run_all(given: argparse.Namespace, wanted: Sequence[Cell], began: float) -> None:
    """These cells, but for those that have a line."""
    done = {(line["row"], line["seed"], line["rate"]) for line in read(given.table)}
    waiting = [cell for cell in wanted if cell.key not in done]
    running: dict[subprocess.Popen[bytes], Cell] = {}
    failed: list[str] = []
    while waiting or running:
        failed += [f"{cell.row} {cell.seed} {cell.rate:g}" for process, cell in running.items() if process.poll()]
        running = {process: cell for process, cell in running.items() if process.poll() is None}
        if time.monotonic() - began > given.minutes * 60:
            waiting = []
        cell = _startable(waiting, list(running.values())) if len(running) < given.jobs else None
        if cell is None:
            time.sleep(1)
            continue
        waiting.remove(cell)
        prepared(cell)
        print(f"{given.table}: {cell.row}, seed {cell.seed}, rate {cell.rate:g}", flush=True)
        command = [sys.executable, "-m", "bench.table", given.table, "--cell"]
        running[subprocess.Popen([*command, cell.row, str(cell.seed), str(cell.rate)])] = cell
    if failed:
        raise SystemExit(f"{given.table}: cells that failed, see above: {', '.join(failed)}")


def _startable(waiting: Sequence[Cell], running: Sequence[Cell]) -> Cell | None:
    """The first cell that shares no first run with one that runs: the two would train it twice."""
    taken = {cell.first for cell in running}
    return next((cell for cell in waiting if cell.first not in taken), None)


def prepared(cell: Cell) -> dict[str, Any]:
    """The ground that a cell stands on, made by the first that asks."""
    path = OUT / "data" / f"ground-{cell.table}-{cell.seed}-{fingerprint(labeling.SETTINGS)}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = DATA[cell.table].prepare(OUT / "data", cell.seed, tuning=cell.seed == TUNING_SEED)
        path.write_text(json.dumps(made))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def config_of(cell: Cell, overrides: Sequence[str] = ()) -> TrainConfig:
    """The cell's training."""
    task, ground = DATA[cell.table], prepared(cell)
    row, data, stores = task.rows[cell.row], ground["data"], ground["stores"]
    if row.labels:
        data = {**data, "labeled": {"kind": "store", "uri": stores[row.labels]}}
    tables = {
        "job": "train",
        "method": row.method({**task.schedule, "learning_rate": cell.rate}, stores),
        "data": data,
        "runs": str(OUT / "runs"),
        "seed": cell.seed,
        "student": task.student,
        "view": task.view,
        "device": "auto",
        "workers": {"num_workers": 0, "threads": 1},
        "intervals": {"log_every": 50, "checkpoint_every": 100},
        "tracking": {"wandb": "off"},
    }
    return build(TrainConfig, overridden(tables, overrides, TrainConfig), f"cell {cell.key}")


def run(cell: Cell, overrides: Sequence[str]) -> dict[str, Any]:
    """Train; returns the line."""
    task = DATA[cell.table]
    result = train(config_of(cell, overrides), until=task.rows[cell.row].until)[-1]
    acted: dict[str, list[float]] = {}
    for line in read_metrics(result.folder.uri):
        for name in ACTIONS:
            if line["kind"] == "train" and line.get(name) is not None:
                acted.setdefault(name, []).append(line[name])
    reached = {name: round(value, 5) for name, value in result.end["last"].items()}
    return {
        "row": cell.row,
        "seed": cell.seed,
        "rate": cell.rate,
        task.metric: reached[task.metric],
        "steps": result.end["step"],
        "figures": reached,
        "acted": {name: round(sum(values) / len(values), 4) for name, values in acted.items()},
        "seconds": round(result.end["seconds"], 1),
        "run": result.folder.name,
        "machine": f"{platform.machine()}, 1 thread",
    }


if __name__ == "__main__":
    main()
