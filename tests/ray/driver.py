"""A label run that tests can kill: `driver.py IMAGES STORES SECONDS [CPUS [FAULT]]`, one JSON line per event.

An actor takes CPUS; FAULT goes wrong (see `FaultyStage`). It labels once its input ends.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray

from segray.config.label import LabelWorkers
from segray.errors import BackendError, DeviceError, LabelError, StoreError
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.labels import runner
from segray.labels.pending_rows import PendingRows
from segray.store import Store
from segray.testing import SleepingStage


@dataclass(frozen=True, kw_only=True)
class FaultyStage(SleepingStage):
    """A stage in which one thing goes wrong: `fault` says what, in the words of `FAULTS`."""

    fault: str
    folder: str
    """Where workers leave marks."""

    def build(self):
        kind, _, image = self.fault.partition(":")
        if kind in STARTS:
            STARTS[kind](Path(self.folder))
        label = super().build()

        def labeled(rows):
            if kind in FAULTS and (not image or image in {row.image_id for row in rows}):
                FAULTS[kind](Path(self.folder))
            yield from label(rows)

        return labeled


def end_process(_folder: Path) -> None:
    """As a decoder that crashes on one image."""
    os.kill(os.getpid(), signal.SIGKILL)


def break_device(folder: Path) -> None:
    """As one GPU of several that answers nothing, whichever process asks: of the first worker that comes."""
    me = ray.get_runtime_context().get_actor_id()
    with suppress(FileExistsError), (folder / "broken").open("x") as file:
        file.write(me)
    if (folder / "broken").read_text() == me:
        raise DeviceError("CUDA error: uncorrectable ECC error encountered")


def fail_to_start_once(folder: Path) -> None:
    """As weights that are away for a moment."""
    with suppress(FileExistsError):
        (folder / "started").open("x").close()
        raise OSError("503 Slow Down")


def never_start(_folder: Path) -> None:
    """As weights that are gone."""
    raise BackendError("there are no weights at s3://weights/sam.pt")


FAULTS = {"deadly": end_process, "device": break_device}
STARTS = {"flaky-start": fail_to_start_once, "no-start": never_start}


def say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def busy_nodes() -> int:
    """Nodes that can work."""
    return sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())


def main(images: str, stores: str, seconds: str, cpus: str = "0.5", fault: str = "") -> None:
    stage = FaultyStage(seconds=float(seconds), fault=fault, folder=stores)
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
