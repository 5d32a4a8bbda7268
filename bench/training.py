"""What training costs: `python -m bench.training [--quick]`.

Steps: a stage-2 step of S4M against the plain supervised step of the same student on as many images, one thread, each
variant in a process of its own, all variants in each of several turns; medians of the turns' ratios. Workers: the same
global batch on 1, 2 and 4 data-parallel workers (gloo): do losses agree, and what does a step cost more.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from segray import metric_names
from segray.config.base import build
from segray.demo import training
from segray.formats.registry import open_source
from segray.jobs.train import prepare_rows, train
from segray.methods import component_counts, plans
from segray.methods.config import TrainConfig
from segray.store import Store
from segray.store.rows import LabeledRow
from segray.training.distributed import WorkerGroup
from segray.training.loader import StepLoader
from segray.training.loop import Loop
from segray.training.plan import RunContext
from segray.training.runs.folder import RunFolder

OUT = Path("out/bench-training")
VARIANTS = ("supervised", "guided", "points", "points + ARP", "cached + ARP")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--variant", choices=VARIANTS, help="time one variant in this process")
    given = parser.parse_args()
    steps = 4 if given.quick else 12
    if given.variant:
        print(json.dumps(time_variant(given.variant, steps)))
        return
    prepare(100 if given.quick else 300)
    print_steps(turns=1 if given.quick else 3)
    print_workers(steps=6 if given.quick else 20)


def config(variant: str, steps: int = 1000, batch: int = 8) -> TrainConfig:
    """A training of the procedural world, with so many labeled and as many unlabeled images a step."""
    schedule = {**training.SCHEDULE, "steps": steps, "labeled_batch": batch}
    refinement = {"points": training.REFINEMENT, "cached": {"kind": "cached", "store": str(store_uri())}}
    method: dict[str, Any] = {"kind": "supervised", "schedule": {**schedule, "labeled_batch": 2 * batch}}
    if variant != "supervised":
        student = {
            "schedule": {**schedule, "unlabeled_batch": batch},
            "refinement": refinement.get(variant.split(maxsplit=1)[0]),
            "arp": training.ARP if variant.endswith("ARP") else None,
            **training.STUDENT_RUN,
        }
        method = {"kind": "s4m", "teacher": {"schedule": schedule, "distillation": None}, "student": student}
    tables = {
        "job": "train",
        "method": method,
        "data": training.family_b(OUT, train=120, validation=30, share=0.2),
        "runs": str(OUT / "runs"),
        "student": training.STUDENT,
        "view": training.VIEW,
        "workers": {"num_workers": 0, "threads": 1},
        "tracking": {"wandb": "off"},
    }
    return build(TrainConfig, tables, variant)


def store_uri() -> Path:
    """Where the masks for cached refinement lie."""
    found = sorted((OUT / "stores").glob("*"))
    return found[0] if found else OUT / "stores"


def teacher_folder() -> RunFolder:
    """The teacher that all variants share."""
    return RunFolder(runs=str(OUT / "runs"), name=(OUT / "teacher").read_text())


def prepare(steps: int) -> None:
    """A teacher that labels, and a store of true masks: what cached refinement costs does not depend on their maker."""
    done = train(config("guided", steps), until="teacher")[0]
    (OUT / "teacher").write_text(done.folder.name)
    source = open_source(config("supervised").data.hidden)
    store = Store.create(str(OUT / "stores"), "true-masks", {"of": "bench.training"})
    rows = [LabeledRow(image=image, sha256="", instances=source.instances(image.image_id)) for image in source.rows()]
    store.write_part(rows)


def session(variant: str, group: WorkerGroup, batch: int = 8) -> tuple[Loop, StepLoader]:
    """Loop and loader of a variant's student run, on one worker."""
    settings = config(variant, batch=batch)
    plan = plans(settings)[-1]
    rows = {role: one.rows for role, one in prepare_rows(settings).items()}
    parents = {"teacher": teacher_folder().student("last")}
    context = RunContext(config=settings, classes=rows["labeled"].classes, device=group.device, parents=parents)
    loop = Loop(plan.objective(context), plan.schedule, group)
    unlabeled = rows["unlabeled"] if plan.unlabeled else None
    shares = {"rank": group.rank, "world": group.world}
    return loop, StepLoader(rows["labeled"], unlabeled, settings.view, plan.schedule, seed=0, **shares)


def time_variant(variant: str, steps: int) -> dict[str, float]:
    """Seconds per step, and the most memory the process held, MiB."""
    torch.set_num_threads(1)
    loop, loader = session(variant, WorkerGroup(device=torch.device("cpu")))
    for step, pieces in enumerate(loader):
        if step == 2:
            began = time.perf_counter()
            loop.metrics()
        if step == steps + 2:
            break
        loop.advance(pieces, step)
    seconds = (time.perf_counter() - began) / steps
    acted = {name: value for name, value in loop.metrics().items() if not name.startswith(metric_names.LOSS)}
    return {"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **acted}


def print_steps(turns: int) -> None:
    """Step time and memory of each variant."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for _ in range(turns):
        for name in VARIANTS:
            command = [sys.executable, "-m", "bench.training", "--variant", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"\nsteps: 8 labeled + 8 unlabeled images (supervised: 16 labeled), 128 px, 1 thread, {turns} turns")
    print("| variant | s per step | times supervised | peak memory, MiB | labels per image |\n|---|---|---|---|---|")
    for name, own in found.items():
        pairs = zip(own, found["supervised"], strict=True)
        ratio = statistics.median(one["seconds"] / base["seconds"] for one, base in pairs)
        seconds, memory = (statistics.median(one[key] for one in own) for key in ("seconds", "memory"))
        labels = statistics.median(one.get(component_counts.LABELS_PER_IMAGE, 0.0) for one in own)
        print(f"| {name} | {seconds:.2f} | {ratio:.2f} | {memory:.0f} | {labels:.1f} |")


def print_workers(steps: int) -> None:
    """Losses and step times of the points variant on 1, 2 and 4 workers."""
    print(f"\nworkers: the same {steps} steps of S4M's stage 2 (points + ARP), 16 labeled + 16 unlabeled images")
    curves: dict[int, list[float]] = {}
    print("| workers | s per step | largest relative difference of a mean loss to 1 worker |\n|---|---|---|")
    for world in (1, 2, 4):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "out.json"
            if world == 1:
                _worker(0, 1, str(out), steps)
            else:
                mp.start_processes(_worker, args=(world, str(out), steps), nprocs=world, start_method="spawn")
            result = json.loads(out.read_text())
        curves[world] = result["losses"]
        apart = max(abs(one / base - 1) for one, base in zip(curves[world], curves[1], strict=True))
        print(f"| {world} | {result['seconds']:.2f} | {apart:.1e} |")


def _worker(rank: int, world: int, out: str, steps: int) -> None:
    """One worker of the comparison; the first one writes what came out."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{out}.rendezvous", rank=rank, world_size=world)
    group = WorkerGroup(device=torch.device("cpu"), rank=rank, world=world)
    loop, loader = session("points + ARP", group, batch=16)
    losses = []
    for step, pieces in enumerate(loader):
        if step == 1:
            began = time.perf_counter()
        if step == steps:
            break
        loop.advance(pieces, step)
        losses.append(loop.metrics()[metric_names.LOSS])
    seconds = (time.perf_counter() - began) / (steps - 1)
    if rank == 0:
        Path(out).write_text(json.dumps({"losses": losses, "seconds": seconds}))
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
