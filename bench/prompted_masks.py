"""Boxes to masks by sam-nano, beside the boxes themselves: `python -m bench.prompted_masks IMAGES ANNOTATIONS`.

Mean IoU with the true masks of a COCO file, of all masks, and where doubted masks are boxes at the bounds of
`configs/prompt/coco.toml`. With `--family-b`, on scenes that are drawn first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from segray.demo.coco import write_world
from segray.formats.coco import CocoSource
from segray.formats.coco.reader import CocoImages
from segray.images import decoding
from segray.job_configs import load_label_job
from segray.labels.prompting.config import PromptConfig
from segray.masks import rle
from segray.masks.instances import Instances
from segray.masks.object_prompts import fit
from segray.sam.build import build
from segray.sam.prompted_masks import PromptedMasks

CONFIG: Final = Path(__file__).parents[1] / "configs" / "prompt" / "coco.toml"
_FIRST_SEED: Final = 500


def main(
    images: Annotated[str | None, typer.Argument(help="Folder of images.")] = None,
    annotations: Annotated[str | None, typer.Argument(help="COCO file with boxes and masks.")] = None,
    *,
    number: Annotated[int, typer.Option(help="Images to measure on.")] = 80,
    family_b: Annotated[bool, typer.Option(help="Draw scenes of family B, and measure on those.")] = False,
) -> None:
    """Print one line per way to get masks."""
    config = load_label_job(CONFIG)
    assert isinstance(config, PromptConfig)
    sam = build(config.sam)
    ways = {
        "every mask as sam-nano makes it": replace(
            config.prompts, min_predicted_iou=0, min_stability=0, min_box_agreement=0
        ),
        "doubted ones as boxes": config.prompts,
    }
    with tempfile.TemporaryDirectory() as scratch:
        if family_b:
            file = write_world(Path(scratch), "b", number, seed=_FIRST_SEED)
            images, annotations = str(file.parent / "images"), str(file)
        if images is None or annotations is None:
            raise typer.BadParameter("give a folder and a COCO file, or --family-b")
        source = CocoImages(CocoSource(uri=images, annotations=annotations))
        for name, settings in ways.items():
            rows = list(_measured(source, PromptedMasks(sam, settings), number))
            ious, boxed = np.concatenate([one for one, _ in rows]), np.concatenate([one for _, one in rows])
            print(f"{name}: {len(ious)} objects, mean IoU {ious.mean():.3f}, {boxed.mean():.0%} boxes", flush=True)
        boxes = np.concatenate([one for one, _ in _measured(source, None, number)])
        print(f"the boxes: mean IoU {boxes.mean():.3f}")


def _measured(
    source: CocoImages, masks: PromptedMasks | None, number: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield of each image the IoUs of its objects, and which of their masks are boxes; without a model, all are."""
    for row in list(source.rows())[:number]:
        pixels, _ = decoding.load(row.uri, decoding.MOST_PIXELS)
        size_hw = (pixels.shape[0], pixels.shape[1])
        true, prompts = source.instances(row.image_id), source.prompts(row.image_id)
        if true is None or prompts is None or not len(prompts):
            continue
        fitting, _ = fit(prompts, size_hw)
        if masks is None:
            corners = [[x0, y0, x1, y0, x1, y1, x0, y1] for x0, y0, x1, y1 in fitting.boxes_xyxy.tolist()]
            counts = [rle.from_polygons([one], size_hw) for one in corners]
            found = Instances.from_rle(counts, size_hw, provenance="box", ids=fitting.ids)
        else:
            found = masks.generate([(pixels, fitting)])[0]
        truth = dict(zip(true.ids, true.to_masks(), strict=True))
        known = [place for place, one in enumerate(found.ids) if one in truth]
        pairs = [(truth[found.ids[place]], found[place].to_masks()[0]) for place in known]
        ious = np.array([(a & b).sum() / max((a | b).sum(), 1) for a, b in pairs])
        yield ious, found.provenance[known] == "box"


if __name__ == "__main__":
    typer.run(main)
