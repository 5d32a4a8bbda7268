"""Trains clip-nano on captions of the procedural worlds: `python -m tools.nano.train_clip --out DIR [--steps N]`.

Captions say what an image shows, never where: an image is as near to a phrase as its nearest places are, and phrases
that are true of it must be nearer than those that are not. So it learns a dense map from image-level words alone. The
same command goes on where it was stopped; at its end it prints how well regions of unseen scenes are named, among them
compositions that training never showed, and replaces the shipped weights with `--ship`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from segray.assets import CLIP_NANO, TRUNK_NANO
from segray.config.evidence import NanoClipConfig
from segray.demo.textures import FAMILY_TEXTURES
from segray.demo.world import FAMILY_CLASSES, scene
from segray.evidence.encoders import normalised
from segray.evidence.fitting import FitPlan, fit
from segray.evidence.nano_clip import NanoClip, NanoImageTextEncoder, load, save
from segray.evidence.zero_shot import pool_under_masks
from segray.masks.instances import Instances
from segray.nets.weights import load_into, load_state
from tools.nano.clip_data import WORDS, CaptionBatch, build_cache, composed, describe, draw_batch

IMAGES, PHRASES = 24, 64
SHARPNESS: Final = 20.0
"""How much the nearest places count in an image's nearness to a phrase."""
TEST_SEED: Final = 600_000


class Learner(nn.Module):
    """The network with what only training needs: a scale and an offset of its cosines."""

    def __init__(self, model: NanoClip) -> None:
        super().__init__()
        self.model = model
        self.scale = nn.Parameter(torch.tensor(10.0).log())
        self.offset = nn.Parameter(torch.tensor(-5.0))

    def loss(self, batch: CaptionBatch) -> Tensor:
        """Cross-entropy of image and phrase pairs, in which true and untrue ones weigh the same."""
        places = self.model.image_map(normalised(torch.from_numpy(batch.images))).flatten(2)
        texts = self.model.text([self.model.numbers(" ".join(phrase)) for phrase in batch.phrases])
        cosines = torch.einsum("pd,bdn->bpn", texts, places)
        nearness = (cosines * (SHARPNESS * cosines.detach()).softmax(dim=-1)).sum(-1)
        truth = torch.from_numpy(batch.truth).float()
        share = truth.mean().clamp(0.01, 0.99)
        weight = torch.where(truth > 0, 0.5 / share, 0.5 / (1 - share))
        logits = nearness * self.scale.exp() + self.offset
        return F.binary_cross_entropy_with_logits(logits, truth, weight)


def train(out: Path, *, steps: int, scenes: int, workers: int, seed: int = 0, learning_rate: float = 1e-3) -> Path:
    """Train to `steps`, from the checkpoint in `out` if there is one; returns the weights' file."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    cache = build_cache(out, scenes, workers)
    learner = Learner(NanoClip(WORDS))
    load_into(learner.model.trunk, load_state(str(TRUNK_NANO)), f"the shipped weights {TRUNK_NANO.name}")

    def loss(step: int) -> Tensor:
        return learner.loss(draw_batch(cache, step, images=IMAGES, phrases=PHRASES, seed=seed))

    fit(learner, loss, FitPlan(steps=steps, learning_rate=learning_rate), out / "clip.checkpoint", log_every=20)
    weights = out / CLIP_NANO.name
    save(learner.model, weights)
    return weights


def measure(weights: str, scenes: int) -> dict[str, float]:
    """How regions of unseen scenes of family B are named, their true masks given: shares of objects.

    `class` asks for the class by its name alone (chance 1/6), `composition` for texture and class together (1/36);
    `_held_out` are the objects of compositions that training never showed, the others are like those it showed.
    """
    evidence = NanoImageTextEncoder(NanoClipConfig(weights=weights), torch.device("cpu"))
    classes, textures = FAMILY_CLASSES["b"], FAMILY_TEXTURES["b"]
    names = evidence.texts(list(classes))
    pairs = [f"{texture} {name}" for texture in textures for name in classes]
    compositions = evidence.texts(pairs)
    right: dict[str, list[bool]] = {"class": [], "class_held_out": [], "composition": [], "composition_held_out": []}
    for number in range(scenes):
        found = scene("b", TEST_SEED + number)
        if not found.objects:
            continue
        masks = Instances.from_masks(np.stack([item.mask for item in found.objects]), provenance="gt")
        pooled, _ = pool_under_masks(evidence.dense([found.image])[0], masks)
        for vector, thing in zip(pooled, describe(found), strict=True):
            kind = "_held_out" if composed(thing) else ""
            right["class" + kind].append(classes[int((names @ vector).argmax())] == thing["class"])
            said = pairs[int((compositions @ vector).argmax())]
            right["composition" + kind].append(said == f"{thing['texture']} {thing['class']}")
    return {name: round(float(np.mean(values)), 4) if values else float("nan") for name, values in right.items()}


def main(
    *,
    out: Annotated[Path, typer.Option(help="Folder of scenes, checkpoint and weights.")],
    steps: Annotated[int, typer.Option(help="Updates in all.")] = 3000,
    scenes: Annotated[int, typer.Option(help="Scenes to learn from.")] = 4000,
    workers: Annotated[int, typer.Option(help="Processes that draw scenes.")] = 1,
    test_scenes: Annotated[int, typer.Option(help="Scenes to measure on.")] = 300,
    ship: Annotated[bool, typer.Option(help="Replace the shipped weights.")] = False,
) -> None:
    """Train clip-nano, or go on training it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    weights = train(out, steps=steps, scenes=scenes, workers=workers)
    typer.echo(json.dumps(measure(str(weights), test_scenes)))
    if ship:
        save(load(str(weights)), CLIP_NANO)


if __name__ == "__main__":
    typer.run(main)
