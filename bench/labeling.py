"""The label job against a bare loop, more actors, more images: what Ray Data adds, how cost grows, what memory does.

    PYTHONPATH=platform:. python -m bench.labeling [--json FILE] [--quick]

The model is a sleep (a device-bound stage); reading, decoding, Ray, Parquet and the store are real.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from segray.config.label import LabelWorkers
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.labels import runner
from segray.labels.pending_rows import PendingRows
from segray.store import Store
from segray.store.rows import ImageRow
from segray.testing import SleepingStage, write_images

CPUS = 8
"""Logical CPUs given to Ray: the sleeping actors use none of them."""


def images(folder: Path, number: int) -> list[ImageRow]:
    """Rows of fresh small PNG images."""
    write_images(folder, number)
    return list(open_source(FolderSource(uri=str(folder))).rows())


def bare_loop(stage: SleepingStage, rows: list[ImageRow]) -> float:
    """Seconds per image of the stage alone, no Ray, no store."""
    label = stage.build()
    started = time.perf_counter()
    done = len(list(label(rows)))
    return (time.perf_counter() - started) / done


def label_job(stage: SleepingStage, rows: list[ImageRow], workers: LabelWorkers) -> dict[str, float]:
    """Seconds per image through Ray Data into a store; steady from the first part on, start-up apart."""
    with tempfile.TemporaryDirectory() as folder, PendingRows(rows) as plan:
        store = Store.create(folder, stage.name, stage.content)
        parts = plan.parts(runner.rows_per_part(plan.number, workers))
        began = time.perf_counter()
        marks = [(time.perf_counter(), part.images) for part in runner.run(stage, store, parts, workers)]
        assert store.info().images == len(rows)
    # Steady from where every actor has delivered once.
    ready = workers.most_workers - 1
    first, last = marks[ready][0], marks[-1][0]
    later = sum(number for _, number in marks[ready + 1 :])
    return {
        "steady_s_per_image": (last - first) / later,
        "startup_s": marks[0][0] - began - marks[0][1] * stage.seconds,
        "wall_s": last - began,
    }


def overhead(number: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Bare loop and label job in turn, one actor."""
    stage, ratios, startups = SleepingStage(seconds=seconds), [], []
    with tempfile.TemporaryDirectory() as folder:
        rows = images(Path(folder), number)
        for _ in range(rounds):
            bare = bare_loop(stage, rows)
            job = label_job(stage, rows, LabelWorkers(num_workers=1, images_per_part=4))
            ratios.append(job["steady_s_per_image"] / bare)
            startups.append(job["startup_s"])
    return {
        "images": number,
        "seconds_per_image": seconds,
        "ratios": ratios,
        "overhead": statistics.median(ratios) - 1,
        "startup_s": statistics.median(startups),
    }


def scaling(number: int, seconds: float, sizes: tuple[int, ...]) -> list[dict[str, float]]:
    """Steady throughput with 1, 2, 4 actors against 1."""
    stage, table = SleepingStage(seconds=seconds), []
    with tempfile.TemporaryDirectory() as folder:
        rows = images(Path(folder), number)
        for size in sizes:
            job = label_job(stage, rows, LabelWorkers(num_workers=size, images_per_part=2))
            table.append({"actors": size, "images_per_s": 1 / job["steady_s_per_image"], "wall_s": job["wall_s"]})
    for line in table:
        line["efficiency"] = line["images_per_s"] / table[0]["images_per_s"] / line["actors"]
    return table


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Peak resident memory of this process and all its descendants, in MiB, sampled while inside."""
    peak, done = {"mib": 0.0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak["mib"] = max(peak["mib"], _tree_mib())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _tree_mib() -> float:
    """Proportional memory (PSS, so that what processes share counts once) of this process and its descendants."""
    parents, total = {}, 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
    family, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    for pid in family:
        try:
            lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def memory(numbers: tuple[int, ...], seconds: float) -> list[dict[str, float]]:
    """Peak memory of the whole job, by number of images."""
    stage, table = SleepingStage(seconds=seconds), []
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            rows = images(Path(folder), number)
            with peak_memory() as peak:
                label_job(stage, rows, LabelWorkers(num_workers=2, images_per_part=8))
        table.append({"images": number, "peak_mib": peak["mib"]})
    return table


def main() -> None:
    """Run all three and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="fewer images: shows that it runs, not how fast")
    given = parser.parse_args()
    few = given.quick
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, object_store_memory=200 * 2**20)
    try:
        figures = {
            "overhead": overhead(8 if few else 32, 0.1 if few else 1.0, 1 if few else 3),
            "scaling": scaling(32 if few else 160, 0.25, (1, 2, 4)),
            "memory": memory((20, 60) if few else (200, 2000), 0.02),
        }
    finally:
        ray.shutdown()
    print(json.dumps(figures, indent=1))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
