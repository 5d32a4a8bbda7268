"""The demo: draw a world, label it, train on it, serve what was trained. All is real; its models ship with segray.

Runs the jobs that a method asks for (`segray.demo.methods`), knows none of them by name.
"""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from segray.config.base import build
from segray.config.label import StageJob
from segray.config.serve import ServeConfig
from segray.demo import training
from segray.demo.methods import NAME, Method, Size, Training, World
from segray.demo.world import scene
from segray.evaluation.stores import measure_store
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.jobs.evaluate import Result
from segray.jobs.label import Show, label
from segray.jobs.outputs import report
from segray.jobs.serve import serving
from segray.jobs.train import RunResult, train
from segray.jobs.train import Show as ShowTraining
from segray.labels.summary import Summary
from segray.methods.config import TrainConfig
from segray.store import Store
from segray.training.reports.comparison import compare_report
from segray.training.runs.catalog import show_run

PICTURE_SEED: Final = 49_999
"""The scene that the endpoint is asked about: none of those before it."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Labeled:
    """What a label job leaves."""

    name: str
    summary: Summary
    quality: Result
    """Against the true masks, of which labeling saw the labeled tenth at most, to choose a threshold."""
    report: Path


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training leaves."""

    results: Mapping[str, RunResult]
    """The student's run of each training, by name."""
    report: Path
    """All of them side by side."""

    @property
    def student(self) -> str:
        """The folder of the last one's best student."""
        return list(self.results.values())[-1].folder.student("best")


@dataclass(frozen=True, kw_only=True)
class Served:
    """The endpoint, and what it said of one image."""

    address: str
    picture: Path
    """The image that it was asked about."""
    labels: Path
    """A PNG of the class of each pixel, as it gave it."""
    instances: Sequence[Mapping[str, Any]]
    """As `POST /v1/segment` gives them, best first; of a student of label maps one for each class."""


def draw_world(folder: Path, size: Size, say: Say) -> World:
    """Draw scenes of family B below a folder, and split them."""
    say(
        f"drawing {size.train_images} scenes that the shipped models have never seen, a tenth of them labeled, and"
        f" {size.validation_images} more to measure on"
    )
    data = training.family_b(folder, train=size.train_images, validation=size.validation_images, share=0.1)
    scenes, share = data["unlabeled"], size.sample / size.train_images
    first = training.shares(folder / "sample", Path(scenes["uri"]), Path(scenes["annotations"]), share, 0)["labeled"]
    return World(folder=folder, data=data, sample={**first, "name": NAME}, size=size)


def label_world(world: World, method: Method, say: Say, show: Show) -> tuple[Sequence[Labeled], Mapping[str, Training]]:
    """Do the method's label jobs, measure and report each; also gives the trainings that come next."""
    done: list[Labeled] = []

    def job(name: str, config: StageJob) -> str:
        say(f"labeling: {name}")
        summary = label(config, show)
        done.append(_measured(world, name, summary))
        return summary.store

    return done, method(world, job)


def _measured(world: World, name: str, summary: Summary) -> Labeled:
    store = Store.open(summary.store)
    page = world.folder / "reports" / f"{name}.html"
    report(store, page)
    truth = open_source(build(CocoSource, world.scenes, "demo"))
    return Labeled(name=name, summary=summary, quality=measure_store(store, truth), report=page)


def train_world(world: World, trainings: Mapping[str, Training], say: Say, show: ShowTraining, *, page: str) -> Trained:
    """Train a student of each training, and compare them in figures and to the eye, on a page of this name.

    Two workers where there are two cores.
    """
    results = {}
    for name, one in trainings.items():
        say(f"training: {name}")
        results[name] = train(train_config(world, one), show=show)[-1]
    out = world.folder / "reports" / f"{page}.html"
    runs = {name: show_run(one.folder.runs, one.folder.name) for name, one in results.items()}
    compare_report(runs, out, title=", ".join(trainings))
    return Trained(results=results, report=out)


def train_config(world: World, one: Training) -> TrainConfig:
    """The training as `segray train` would have it."""
    tables = {
        "job": "train",
        "method": one.method,
        "data": one.data,
        "runs": str(world.folder / "runs"),
        "student": one.student,
        "view": training.VIEW,
        "workers": {"num_workers": min(2, len(os.sched_getaffinity(0)))},
        "intervals": {"log_every": 20, "checkpoint_every": 100, "evaluate_images": 40},
        "tracking": {"wandb": "off"},
    }
    return build(TrainConfig, tables, "demo")


@contextmanager
def serve_world(out: Path, student: str, say: Say, *, clicks: bool) -> Iterator[Served]:
    """Serve a student for the time of the `with`, and ask it about a scene it never saw.

    `clicks` also serves sam-nano, for the page's click mode.
    """
    say("serving the student: Ray starts once more, the models load and warm up")
    tables = {
        "job": "serve",
        "keys": {"kind": "off"},
        "port": 0,
        "student": {"uri": student, "batching": {"wait_ms": 0}},
        "ingress": None,
        "clicks": {"sam": {"kind": "original", "model": "nano"}} if clicks else None,
    }
    picture, labels = out / "picture.png", out / "picture-labels.png"
    Image.fromarray(scene("b", PICTURE_SEED).image).save(picture)
    with serving(build(ServeConfig, tables, "demo")) as address:
        found = json.loads(_asked(f"{address}/v1/segment", picture, "application/json"))
        labels.write_bytes(_asked(f"{address}/v1/segment?format=label", picture, "image/png"))
        yield Served(address=address, picture=picture, labels=labels, instances=found["images"][0]["instances"])


def _asked(address: str, picture: Path, accept: str) -> bytes:
    headers = {"Content-Type": "image/png", "Accept": accept}
    request = urllib.request.Request(address, picture.read_bytes(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())
