"""A label run that tests can kill: `driver.py IMAGES STORES SECONDS [CPUS [DEADLY]]`, one JSON line per event.

An actor takes CPUS; the image called DEADLY ends the process of whoever labels it. It labels once its input ends.
"""

import json
import os
import signal
import sys
from dataclasses import dataclass

import ray

from segray.config.label import LabelWorkers
from segray.errors import LabelError, StoreError
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.labels import runner
from segray.labels.pending_rows import PendingRows
from segray.store import Store
from segray.testing import SleepingStage


@dataclass(frozen=True, kw_only=True)
class DeadlyStage(SleepingStage):
    """As a decoder that crashes on one image."""

    deadly: str

    def build(self):
        label = super().build()

        def labeled(rows):
            if self.deadly in {row.image_id for row in rows}:
                os.kill(os.getpid(), signal.SIGKILL)
            yield from label(rows)

        return labeled


def say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def busy_nodes() -> int:
    """Nodes that can work."""
    return sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())


def main(images: str, stores: str, seconds: str, cpus: str = "0.5", deadly: str = "") -> None:
    stage = DeadlyStage(seconds=float(seconds), deadly=deadly)
    workers = LabelWorkers(num_workers=2, cpus=float(cpus), images_per_part=2)
    store = Store.create(stores, stage.name, stage.content)
    ray.init(log_to_driver=False)
    with store.lease("driver"), PendingRows(store.missing(open_source(FolderSource(uri=images)).rows())) as plan:
        say(store=store.uri, known=store.info().images, pending=plan.number, nodes=busy_nodes())
        sys.stdin.read()
        for part in runner.run(stage, store, plan.parts(2), workers):
            say(images=part.images, nodes=busy_nodes())
    say(done=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (LabelError, StoreError) as error:
        say(error=str(error))
        sys.exit(1)
