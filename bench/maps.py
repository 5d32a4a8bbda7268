"""What labels made by machines are worth, before any student learns from them.

    PYTHONPATH=platform:. python -m bench.maps zero-shot|knobs|tags|photographs [--seeds 0 1 2]

On procedural family B's training scenes whose truth nobody saw: thresholds are chosen on a seed's 40 labeled ones,
figures are of the other 360. `photographs`: `tags` of coco-free. Stores are those of the tables `family-b-semantic`,
`family-b-tags` and `coco-free`, made here where they are not there yet.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.table import OUT, SEEDS, Cell, prepared
from segray.config.evidence import MatchRule, Overlaps
from segray.config.label import ClassifyConfig, TunedThreshold
from segray.demo import labeling
from segray.demo.world import FAMILY_CLASSES
from segray.evaluation.average_precision import AveragePrecision
from segray.evidence import thresholds, zero_shot
from segray.evidence.build import build
from segray.evidence.zero_shot import LOGIT_SCALE, ClassEmbeddings
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.formats.voc import VocSource
from segray.images import decoding
from segray.jobs.cluster import connected
from segray.jobs.label import label
from segray.labels.stages.previous import PreviousRows
from segray.labels.stages.truth import class_maps
from segray.masks import semantic
from segray.masks.instances import Instances
from segray.masks.mean_iou import MeanIou
from segray.store.rows import ImageRow

CLASSES = FAMILY_CLASSES["b"]
MAP_CLASSES = (semantic.BACKGROUND, *CLASSES)
Guess = Callable[[ImageRow, semantic.Map], semantic.Map]
"""A class map of an image; the true one is there for its size, and for oracles."""
Figures = dict[str, float]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    given = parser.parse_args()
    found = [dict(TABLES[given.table](seed)) for seed in given.seeds]
    names = list(dict.fromkeys(name for one in found for name in one))
    figures = list(dict.fromkeys(figure for one in found for row in one.values() for figure in row))
    print(f"| labels | {' | '.join(figures)} |\n|" + "---|" * (1 + len(figures)))
    for name in names:
        print(
            f"| {name} | " + " | ".join(_spread([one[name].get(figure) for one in found]) for figure in figures) + " |"
        )


def zero_shot_rows(seed: int) -> Iterator[tuple[str, Figures]]:
    """Maps, and objects, with nothing but class names."""
    ground = prepared(Cell("family-b-semantic", "v1", seed, 0.0))
    stores, data = ground["stores"], ground["data"]
    hidden, truth = CocoSource(**_plain(data["hidden"])), PreviousRows(stores["truth"])
    config = labeling.zero_shot(stores["truth"], OUT / "data" / "stores", data["labeled"])
    rng = np.random.default_rng(seed)

    def by_chance(row: ImageRow, _: semantic.Map) -> semantic.Map:
        return semantic.paint(_renamed(truth.masks(row), rng, first=1), fill=0)

    of_cells = _cells(config)
    yield "all background", maps(hidden, lambda _, true: np.zeros_like(true))
    yield (
        "true masks, a class by chance",
        maps(hidden, by_chance) | objects(hidden, lambda row: _renamed(truth.masks(row), rng, first=0)),
    )
    yield "clip-nano's map, no masks", maps(hidden, of_cells)
    for title, masks, name in (
        ("sam-nano's masks", "sam-nano", "zero-shot"),
        ("true masks", "perfect", "zero-shot-true"),
    ):
        with connected():
            job = labeling.zero_shot(stores[masks], OUT / "data" / "stores", data["labeled"], output="objects")
            found = label(job).store
        yield title, maps(hidden, stored(stores[name])) | objects(hidden, PreviousRows(found).masks)


def knob_rows(seed: int) -> Iterator[tuple[str, Figures]]:
    """Measure each knob of the reconstruction in docs/methods/zero-shot.md alone, with a threshold chosen for it."""
    ground = prepared(Cell("family-b-semantic", "v1", seed, 0.0))
    hidden = CocoSource(**_plain(ground["data"]["hidden"]))
    config = labeling.zero_shot(ground["stores"]["sam-nano"], OUT / "data" / "stores", ground["data"]["labeled"])
    assert isinstance(config.threshold, TunedThreshold)
    evidence, previous = build(config.clip, gpu=False), PreviousRows(config.masks)
    concepts = zero_shot.embed(config.vocabulary, evidence.texts)

    def compared(source: CocoSource | VocSource) -> list[tuple[semantic.Map, Instances, zero_shot.ClassSimilarity]]:
        found = []
        for row, true in class_maps(source, MAP_CLASSES):
            masks = previous.masks(row)
            found.append(
                (true, masks, zero_shot.compare_with_classes(evidence.dense([_pixels(row)])[0], masks, concepts))
            )
        return found

    labeled, others = compared(config.threshold.labeled), compared(hidden)
    for title, own in KNOBS.items():
        rule, overlaps = replace(config.match, **own.get("match", {})), own.get("overlaps", config.overlaps)
        guess = partial(_decided, rule=rule, overlaps=overlaps)
        examples = [thresholds.ThresholdExample(truth=true, guess=partial(guess, *one)) for true, *one in labeled]
        least = thresholds.choose(examples, config.threshold.candidates, MAP_CLASSES).threshold
        gathered = MeanIou(MAP_CLASSES)
        for true, *one in others:
            gathered.add(guess(*one, least), true)
        yield title, _figures(gathered)


KNOBS: Mapping[str, Mapping[str, Any]] = {
    "as configured: cosine, no margin, smallest mask seen": {},
    "softmax over classes": {"match": {"measure": "softmax"}},
    "margin 0.05": {"match": {"margin": 0.05}},
    "margin 0.1": {"match": {"margin": 0.1}},
    "masks of 4 cells and more": {"match": {"min_tokens": 4.0}},
    "SAM's best mask seen": {"overlaps": "best"},
}


def _decided(
    masks: Instances, nearness: zero_shot.ClassSimilarity, threshold: float, *, rule: MatchRule, overlaps: Overlaps
) -> semantic.Map:
    return semantic.paint(
        zero_shot.label_map(masks, zero_shot.assign_classes(masks, nearness, rule, threshold), overlaps)
    )


def tag_rows(seed: int, *, table: str) -> Iterator[tuple[str, Figures]]:
    """Maps of image-level tags, and what SEPL's vote makes of them."""
    ground = prepared(Cell(table, "cam", seed, 0.0))
    hidden = CocoSource(**_plain(ground["data"]["hidden"]))
    yield "all background", maps(hidden, lambda _, true: np.zeros_like(true))
    for title, name in (
        ("CAM", "cam"),
        ("CAM + SEPL, compat", "sepl-compat"),
        ("CAM + SEPL", "sepl"),
        ("CAM + SEPL of true masks", "sepl-true"),
    ):
        yield title, maps(hidden, stored(ground["stores"][name]))


def maps(truth: CocoSource, guess: Guess) -> Figures:
    """mIoU, share of the pixels with a label, share of those that is right."""
    classes = (semantic.BACKGROUND, *open_source(truth).classes)
    gathered = MeanIou(classes)
    for row, true in class_maps(truth, classes):
        gathered.add(guess(row, true), true)
    return _figures(gathered)


def _figures(gathered: MeanIou) -> Figures:
    found = gathered.result()
    return {
        "mIoU": found.miou,
        "coverage": found.coverage,
        "right, of those": found.accuracy / max(found.coverage, 1e-9),
    }


def objects(truth: CocoSource, find: Callable[[ImageRow], Instances]) -> Figures:
    """AP of masks with classes."""
    source, gathered = open_source(truth), AveragePrecision(CLASSES)
    for row in source.rows():
        true = source.instances(row.image_id)
        if true is not None:
            gathered.add(row.image_id, find(row), true)
    found = gathered.result()
    return {"AP": found.ap, "AP50": found.ap50}


def stored(store: str) -> Guess:
    """What a store's masks paint."""
    previous = PreviousRows(store)
    return lambda row, _: semantic.paint(previous.masks(row))


def _cells(config: ClassifyConfig) -> Guess:
    """The classes of the map's own cells, between them by interpolation; no mask is asked."""
    evidence = build(config.clip, gpu=False)
    concepts = zero_shot.embed(config.vocabulary, evidence.texts)

    def scores(row: ImageRow, size_hw: tuple[int, ...]) -> Tensor:
        pixels = _pixels(row)
        return _pixel_scores(evidence.dense([pixels])[0], concepts, size_hw, config.match)

    assert isinstance(config.threshold, TunedThreshold)
    examples = (
        thresholds.ThresholdExample(truth=true, guess=partial(_map, scores(row, true.shape)))
        for row, true in class_maps(config.threshold.labeled, MAP_CLASSES)
    )
    chosen = thresholds.choose(examples, config.threshold.candidates, MAP_CLASSES).threshold
    return lambda row, true: _map(scores(row, true.shape), chosen)


def _pixel_scores(features: Tensor, concepts: ClassEmbeddings, size_hw: Sequence[int], rule: MatchRule) -> Tensor:
    """(K, H, W): how near each pixel is to each class, from a map (h, w, D); the background is no class."""
    cosines = features @ concepts.vectors.T
    best = torch.stack(
        [cosines[..., concepts.owners == owner].amax(-1) for owner in range(1, 1 + concepts.num_classes)]
    )
    large = F.interpolate(best[None], size=tuple(size_hw), mode="bilinear", align_corners=False)[0]
    return large if rule.measure == "cosine" else (LOGIT_SCALE * large).softmax(0)


def _map(scores: Tensor, threshold: float) -> semantic.Map:
    sure, labels = scores.max(0)
    return np.asarray((labels + 1).masked_fill(sure < threshold, 0).to(torch.uint8).numpy())


def _renamed(masks: Instances, rng: np.random.Generator, *, first: int) -> Instances:
    return replace(masks, classes=rng.integers(first, first + len(CLASSES), len(masks)).astype(np.int32))


def _pixels(row: ImageRow) -> Any:
    return decoding.load(row.uri, 10**8)[0]


def _plain(source: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name != "kind"}


def _spread(values: Sequence[float | None]) -> str:
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    return f"{mean(known):.1f} ± {stdev(known):.1f}" if len(known) > 1 else f"{known[0]:.1f}"


TABLES = {
    "zero-shot": zero_shot_rows,
    "knobs": knob_rows,
    "tags": partial(tag_rows, table="family-b-tags"),
    "photographs": partial(tag_rows, table="coco-free"),
}

if __name__ == "__main__":
    main()
