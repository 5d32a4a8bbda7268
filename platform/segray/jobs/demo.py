"""The demo: draw a world, label it, train on it, serve what was trained. All is real; its models ship with segray."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from segray.config.base import build
from segray.config.label import LabelConfig, Workers
from segray.config.sam import MaskGeneration
from segray.config.serve import ServeConfig
from segray.config.sources import CocoSource
from segray.config.train import TrainConfig
from segray.data.rows import labeled_rows
from segray.data.sources import open_source
from segray.data.store import Store
from segray.demo import training
from segray.demo.coco import write_world
from segray.demo.world import scene
from segray.evaluate.recall import average_recall
from segray.jobs.cluster import connected
from segray.jobs.label import Show, label
from segray.jobs.outputs import report
from segray.jobs.serve import serving
from segray.jobs.train import RunResult, train
from segray.jobs.train import Show as ShowTraining
from segray.labels.summary import Summary
from segray.train.comparison import compare_report
from segray.train.lineage import show_run

SEED = 40_000
"""First scene: none that the shipped models were trained or tuned on."""
PICTURE_SEED = 49_999
"""The scene that the endpoint is asked about: none of those before it."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much the demo does."""

    label_images: int
    """Scenes to label."""
    train_images: int
    """Scenes to train on, a tenth of them labeled."""
    validation_images: int
    """Scenes to measure on."""
    steps: int
    """Updates of each student."""


FULL = Size(label_images=40, train_images=240, validation_images=60, steps=300)
QUICK = Size(label_images=12, train_images=120, validation_images=30, steps=80)


@dataclass(frozen=True, kw_only=True)
class Labeled:
    """What labeling leaves."""

    world: Path
    """A COCO file of scenes and their true masks."""
    summary: Summary
    recall: float
    """AR@1000 of the machine's masks against the true ones."""
    report: Path


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training leaves."""

    results: dict[str, RunResult]
    """The student's run of each method."""
    report: Path
    """Both side by side."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """The endpoint, and what it said of one image."""

    address: str
    picture: Path
    """The image that it was asked about."""
    instances: list[dict[str, Any]]
    """As `POST /v1/segment` gives them, best first."""


def label_world(out: Path, images: int, say: Callable[[str], None], show: Show) -> Labeled:
    """Draw `images` scenes of family B below `out`, label them, compare with the truth, write the report."""
    say(f"drawing {images} scenes that sam-nano has never seen")
    annotations = write_world(out / "world", "b", images, seed=SEED)
    source = CocoSource(
        uri=str(out / "world" / "images"), annotations=str(annotations), name="procedural world, family B"
    )
    config = LabelConfig(
        job="label",
        source=source,
        stores=str(out / "stores"),
        masks=MaskGeneration(mode="fast", points_per_side=16, pred_iou_thresh=0.3, stability_score_thresh=0.5),
        workers=Workers(actors=1, torch_threads=2, images_per_part=8),
    )
    say("labeling them: Ray starts, one actor loads sam-nano")
    summary = label(config, show)
    store, truth = Store.open(summary.store), open_source(source)
    rows = [row for batch in store.rows() for row in labeled_rows(batch)]
    pairs = [(row.instances, truth.instances(row.image.image_id)) for row in rows]
    recall = average_recall([(found, true) for found, true in pairs if found is not None and true is not None])
    say("writing the report")
    page = out / "report.html"
    report(store, page)
    return Labeled(world=annotations, summary=summary, recall=recall, report=page)


def train_world(out: Path, size: Size, say: Callable[[str], None], show: ShowTraining) -> Trained:
    """Train a student on labels alone and one by S4M; compare them in figures and to the eye.

    Two workers where there are two cores.
    """
    say(f"drawing {size.train_images} scenes to train on, a tenth of them labeled, and {size.validation_images} more")
    data = training.family_b(out, train=size.train_images, validation=size.validation_images, share=0.1)
    results = {}
    with connected():
        for name, recipe in training.recipes(size.steps).items():
            say(f"training: {name}, {size.steps} steps")
            tables = {
                "job": "train",
                "recipe": recipe,
                "data": data,
                "runs": str(out / "runs"),
                "student": training.STUDENT,
                "view": training.VIEW,
                "workers": {"count": min(2, len(os.sched_getaffinity(0)))},
                "rhythm": {"log_every": 20, "checkpoint_every": 100, "evaluate_images": 40},
                "tracking": {"wandb": "off"},
            }
            results[name] = train(build(TrainConfig, tables, "demo"), show=show)[-1]
    page = out / "comparison.html"
    runs = {name: show_run(one.folder.runs, one.folder.name) for name, one in results.items()}
    compare_report(runs, page, title="Labels alone, and S4M")
    return Trained(results=results, report=page)


@contextmanager
def serve_world(out: Path, trained: Trained, say: Callable[[str], None], *, clicks: bool) -> Iterator[Served]:
    """Serve the last student that was trained, for the time of the `with`, and ask it about a scene it never saw.

    `clicks` also serves sam-nano, for the page's click mode.
    """
    say("serving the student: Ray starts once more, the models load and warm up")
    student = list(trained.results.values())[-1].folder.student("best")
    tables = {
        "job": "serve",
        "keys": {"kind": "off"},
        "port": 0,
        "student": {"uri": student, "batching": {"wait_ms": 0}},
        "ingress": None,
        "clicks": {"sam": {"kind": "original", "model": "nano"}} if clicks else None,
    }
    picture = out / "picture.png"
    Image.fromarray(scene("b", PICTURE_SEED).image).save(picture)
    with serving(build(ServeConfig, tables, "demo")) as address:
        request = urllib.request.Request(
            f"{address}/v1/segment", picture.read_bytes(), {"Content-Type": "image/png"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        yield Served(address=address, picture=picture, instances=answer["images"][0]["instances"])
