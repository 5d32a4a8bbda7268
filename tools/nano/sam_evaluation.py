"""How good is sam-nano: mean IoU from 1, 3 and 9 points on held-out scenes, beside colour thresholding.

`python -m tools.nano.sam_evaluation` prints JSON. Knows the worlds and a segment-anything Sam; does not know training.
The first point is drawn at random in the visible mask, each next one at random where the mask so far is wrong (after
one point the mask of highest predicted IoU, later the single mask). Scenes are drawn from seeds that training never
uses.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from segray.assets import SAM_NANO
from segray.demo.shapes import Family
from segray.demo.world import Scene, WorldLook, scene
from segray.sam.backends.segment_anything.nano import IMAGE_SIZE, load_sam_nano
from tools.nano.colour_baseline import METHODS, baseline_iou
from tools.nano.sam_step import TargetPrompts, decode

log = logging.getLogger(__name__)

HELD_OUT_SEED: Final = 1_000_000
"""Scenes from this seed on are for evaluation; training uses seeds below."""
PROMPTS_AT_ONCE: Final = 8


def held_out(family: Family, count: int, repeat: int = 0, look: WorldLook = "busy") -> Iterator[Scene]:
    """The `repeat`-th set of `count` evaluation scenes of a family; the rare scene without objects is left out."""
    for index in range(count):
        found = scene(family, HELD_OUT_SEED * (repeat + 1) + index, IMAGE_SIZE, look)
        if found.objects:
            yield found


@torch.no_grad()
def point_ious(sam: Sam, found: Scene, num_points: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    """(objects, len(num_points), 2): IoU at full resolution of the best of three masks, and of the single mask."""
    image = torch.from_numpy(found.image).permute(2, 0, 1).float()
    embedding = sam.image_encoder(sam.preprocess(image)[None])
    masks = np.stack([item.mask for item in found.objects])
    parts = [
        _click(sam, embedding, masks[start : start + PROMPTS_AT_ONCE], num_points, rng)
        for start in range(0, len(masks), PROMPTS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _click(
    sam: Sam, embedding: Tensor, masks: NDArray[np.bool_], num_points: Sequence[int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Rounds of one more point each; the figures of the rounds asked for."""
    index = torch.zeros(len(masks), dtype=torch.long)
    truth = torch.from_numpy(masks)
    result = np.zeros((len(masks), len(num_points), 2))
    coords, labels = torch.zeros(len(masks), 0, 2), torch.zeros(len(masks), 0)
    inside, outside = masks, np.zeros_like(masks)
    previous: Tensor | None = None
    for count in range(1, max(num_points) + 1):
        coords, labels = _one_more(coords, labels, inside, outside, rng)
        logits, iou = decode(sam, embedding, index, TargetPrompts(coords, labels, logits=previous))
        full = F.interpolate(logits, masks.shape[1:], mode="bilinear", align_corners=False) > 0
        union = (full | truth[:, None]).sum((2, 3)).clamp(min=1)
        ious = ((full & truth[:, None]).sum((2, 3)) / union).numpy()
        if count in num_points:
            result[:, num_points.index(count)] = np.stack([ious[:, 1:].max(1), ious[:, 0]], axis=1)
        pick = iou[:, 1:].argmax(1) + 1 if count == 1 else torch.zeros(len(masks), dtype=torch.long)
        chosen = full[torch.arange(len(masks)), pick].numpy()
        previous = logits[torch.arange(len(masks)), pick][:, None]
        inside, outside = masks & ~chosen, chosen & ~masks
    return result


def _one_more(
    coords: Tensor, labels: Tensor, inside: NDArray[np.bool_], outside: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """One point more per mask, from the two regions at random; none (label -1) where nothing is wrong."""
    point, label = np.zeros((len(inside), 1, 2), np.float32), np.full((len(inside), 1), -1, np.float32)
    for row, wrong in enumerate(inside | outside):
        places = np.flatnonzero(wrong)
        if len(places):
            y, x = divmod(int(rng.choice(places)), inside.shape[2])
            point[row], label[row] = (x + 0.5, y + 0.5), inside[row, y, x]
    return torch.cat([coords, torch.from_numpy(point)], 1), torch.cat([labels, torch.from_numpy(label)], 1)


def mean_ious(sam: Sam, scenes: Sequence[Scene], num_points: Sequence[int], seed: int) -> NDArray[np.float64]:
    """(len(num_points), 2) means over all objects of the scenes: best of three, single mask."""
    rng = np.random.default_rng(seed)
    every = np.concatenate([point_ious(sam, found, num_points, rng) for found in scenes])
    means: NDArray[np.float64] = every.mean(0)
    return means


def evaluate_nano(sam: Sam, num_scenes: int, repeats: int, look: WorldLook) -> dict[str, object]:
    """Means and spread over `repeats` sets of scenes, per family, with the colour-threshold baseline beside them."""
    points = (1, 3, 9)
    report: dict[str, object] = {"scenes": num_scenes, "repeats": repeats, "look": look}
    families: tuple[Family, ...] = ("a", "b")
    for family in families:
        runs, baselines = [], []
        for repeat in range(repeats):
            scenes = list(held_out(family, num_scenes, repeat, look))
            runs.append(mean_ious(sam, scenes, points, seed=repeat))
            baselines.append(list(baseline_iou(scenes).values()))
        mean, spread = np.mean(runs, 0), np.std(runs, 0)
        colour = zip(METHODS, np.mean(baselines, 0), np.std(baselines, 0), strict=True)
        entry = {f"colour_{method}": _figure(float(middle), float(width)) for method, middle, width in colour}
        for row, count in enumerate(points):
            for column, name in enumerate(("best_of_three", "single")):
                entry[f"{name}@{count}"] = _figure(float(mean[row, column]), float(spread[row, column]))
        report[f"family_{family}"] = entry
    return report


def _figure(mean: float, spread: float) -> dict[str, float]:
    return {"mean": round(mean, 4), "std": round(spread, 4)}


def main(
    weights: Annotated[Path, typer.Option(help="safetensors file of sam-nano")] = SAM_NANO,
    scenes: Annotated[int, typer.Option(help="scenes per set and family")] = 60,
    repeats: Annotated[int, typer.Option(help="independent sets of scenes; the spread is over them")] = 3,
    photo: Annotated[bool, typer.Option(help="scenes of the photo look")] = False,
    threads: Annotated[int, typer.Option(help="threads of torch")] = 2,
    out: Annotated[Path | None, typer.Option(help="also write the JSON here")] = None,
) -> None:
    """Mean IoU of sam-nano at 1, 3 and 9 points on held-out scenes of both families."""
    torch.set_num_threads(threads)
    report = evaluate_nano(load_sam_nano(weights), scenes, repeats, "photo" if photo else "busy")
    text = json.dumps({"weights": weights.name, **report}, indent=2)
    typer.echo(text)
    if out is not None:
        out.write_text(text + "\n")


if __name__ == "__main__":
    typer.run(main)
