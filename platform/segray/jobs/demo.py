"""The demo: draw a world, label it, look at it. Everything runs for real, on the model that ships with the package."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segray.config.label import LabelConfig, Workers
from segray.config.sam import MaskGeneration
from segray.config.sources import CocoSource
from segray.data.rows import labeled_rows
from segray.data.sources import open_source
from segray.data.store import Store
from segray.demo.coco import write_world
from segray.evaluate.recall import average_recall
from segray.jobs.label import Show, label
from segray.jobs.outputs import report
from segray.labels.summary import Summary

SEED = 40_000
"""First scene: none that sam-nano was trained or tuned on."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What a demo leaves."""

    world: Path
    """A COCO file of scenes and their true masks."""
    summary: Summary
    recall: float
    """AR@1000 of the machine's masks against the true ones."""
    report: Path


def demo(out: Path, images: int, say: Callable[[str], None], show: Show) -> DemoResult:
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
    return DemoResult(world=annotations, summary=summary, recall=recall, report=page)
