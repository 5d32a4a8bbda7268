"""A label run that tests can kill: `driver.py IMAGES STORES SECONDS`, one JSON line per event."""

import json
import sys
from pathlib import Path

import ray

from segray.config.label import Workers
from segray.config.sources import FolderSource
from segray.data.sources import open_source
from segray.data.store import Store
from segray.labels import runner
from segray.labels.plan import Plan
from segray.testing import SleepingStage

WORKERS = Workers(actors=2, cpus=0.5, images_per_part=2)


def say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main(images: str, stores: str, seconds: str) -> None:
    stage = SleepingStage(seconds=float(seconds))
    store = Store.create(stores, stage.name, stage.content)
    ray.init(log_to_driver=False)
    with store.lease("driver"), Plan(store.missing(open_source(FolderSource(uri=images)).rows())) as plan:
        say(store=store.uri, known=store.info().images, pending=plan.number)
        for part in runner.run(stage, store, plan.parts(2), WORKERS):
            say(images=part.images)
    say(done=True)


if __name__ == "__main__":
    images, stores, seconds = sys.argv[1:]
    main(str(Path(images)), str(Path(stores)), seconds)
