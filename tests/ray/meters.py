"""A label run and a line of training in a Ray of their own; what its exporter told of them: `meters.py FOLDER`."""

import json
import re
import socket
import sys
import time
import urllib.request
from pathlib import Path

import ray

from segray.config.label import LabelWorkers
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.labels import runner
from segray.labels.pending_rows import PendingRows
from segray.store import Store
from segray.testing import SleepingStage
from segray.training.meters import TrainMeters

LAST = "ray_segray_train_step_seconds"
SAMPLE = re.compile(r"^(ray_segray_\w+)\{(.*)\} (\S+)$", re.MULTILINE)
OWN = ("reason", "part", "metric")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def exported(port: int) -> dict[str, float]:
    """Samples of ours, with their own labels: `ray_segray_train_loss{part=sum}`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for name, labels, value in SAMPLE.findall(text):
        own = ",".join(f"{key}={said}" for key, said in re.findall(r'(\w+)="([^"]*)"', labels) if key in OWN)
        key = f"{name}{{{own}}}" if own else name
        found[key] = found.get(key, 0.0) + float(value)
    return found


@ray.remote(num_cpus=0)
class Leader:
    """The leading worker of a run."""

    def __init__(self) -> None:
        self.meters = TrainMeters("s4m-student-1")

    def observe(self, kind: str, done: int, values: dict[str, float]) -> None:
        self.meters.observe(kind, done, values)


def main(folder: Path) -> None:
    port = free_port()
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        _metrics_export_port=port,
        _system_config={"metrics_report_interval_ms": 1000},
        object_store_memory=100 * 2**20,
    )
    stage = SleepingStage(seconds=0.05)
    store = Store.create(str(folder / "stores"), stage.name, stage.content)
    with PendingRows(store.missing(open_source(FolderSource(uri=str(folder / "images"))).rows())) as plan:
        parts = runner.run(stage, store, plan.parts(2), LabelWorkers(num_workers=1, images_per_part=2))
        done = sum(part.images for part in parts)
    leader = Leader.remote()
    ray.get(leader.observe.remote("train", 20, {"loss": 3.0, "loss/mask": 2.0, "acted/labels_kept": 1.0}))
    ray.get(leader.observe.remote("train", 40, {"loss": 1.5, "loss/mask": 1.0, "acted/labels_kept": 1.0}))
    ray.get(leader.observe.remote("evaluate", 40, {"ap": 0.25}))
    until, seen = time.monotonic() + 240, dict[str, float]()
    while time.monotonic() < until and not (seen.get("ray_segray_label_images_total") == done and LAST in seen):
        time.sleep(0.2)
        # A gauge that is not set again is told for two intervals only.
        seen |= exported(port)
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
