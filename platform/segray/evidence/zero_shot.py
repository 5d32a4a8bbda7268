"""Masks and a feature map to classes: pool the map under each mask, compare with what each class is called.

Tokens are normalised, averaged under the mask and normalised again (docs/methods/zero-shot.md#pooling). A class is as
near as the nearest of its concepts. A mask that is too far from all classes, or nearest to a concept of the background,
is background; one that is too small or too close to two classes is unknown (docs/methods/zero-shot.md#matching). Knows
tensors and masks, no model and no file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from segray.config.evidence import MatchRule, Overlaps, Vocabulary
from segray.masks import cell_weights, rle
from segray.masks.instances import UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.masks.semantic import BACKGROUND_INDEX

LOGIT_SCALE = 100.0
"""What CLIP learned to multiply cosines by, before a softmax."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ClassEmbeddings:
    """What classes are called, as vectors."""

    vectors: torch.Tensor
    """(C, D) unit vectors."""
    owners: torch.Tensor
    """(C,) int64: the class of each, from 1; BACKGROUND_INDEX for what stands for the background."""
    num_classes: int
    """Without the background."""


@dataclass(frozen=True, kw_only=True)
class ClassSimilarity:
    """How near N masks are to each class."""

    cosines: Floats
    """(N, 1 + K): to the background first, -inf where no concept stands for it, then to each class."""
    tokens: Floats
    """(N,) how many tokens of the map each mask covers."""


def embed(vocabulary: Vocabulary, texts: Callable[[Sequence[str]], torch.Tensor]) -> ClassEmbeddings:
    """The vocabulary through a text encoder: a concept is the mean of its templates' unit vectors, made unit again."""
    named = [(0, concept) for concept in vocabulary.background]
    for index, name in enumerate(vocabulary.classes, start=1):
        named += [(index, concept) for concept in vocabulary.synonyms.get(name, (name,))]
    prompts = [template.format(concept) for _, concept in named for template in vocabulary.templates]
    vectors = texts(prompts).reshape(len(named), len(vocabulary.templates), -1).mean(1)
    return ClassEmbeddings(
        vectors=F.normalize(vectors, dim=-1),
        owners=torch.tensor([owner for owner, _ in named]),
        num_classes=len(vocabulary.classes),
    )


def pool_under_masks(features: torch.Tensor, masks: Instances) -> tuple[torch.Tensor, Floats]:
    """The mean of a map (h, w, D) under each mask, as unit vectors (N, D), and the tokens (N,) each mask covers.

    Masks are down-sampled to the grid by area; for those that cover less than a token, the map is up-sampled instead.
    """
    grid_hw = (features.shape[0], features.shape[1])
    weights = cell_weights.cell_coverage(masks, grid_hw)
    tokens = weights.sum((1, 2))
    for index in np.flatnonzero((tokens < 1) & (masks.areas > 0)):
        weights[index] = cell_weights.interpolation_weights(masks.counts[index], masks.size_hw, grid_hw)
    flat = F.normalize(features.flatten(0, 1), dim=-1)
    return F.normalize(torch.from_numpy(weights).flatten(1) @ flat, dim=-1), tokens


def compare_with_classes(features: torch.Tensor, masks: Instances, concepts: ClassEmbeddings) -> ClassSimilarity:
    """How near each mask is to each class: the cosine with the nearest of its concepts."""
    pooled, tokens = pool_under_masks(features, masks)
    cosines = pooled @ concepts.vectors.T
    best = torch.full((len(masks), 1 + concepts.num_classes), -torch.inf)
    best.scatter_reduce_(1, concepts.owners.expand(len(masks), -1), cosines, "amax")
    return ClassSimilarity(cosines=best.numpy(), tokens=tokens)


def assign_classes(masks: Instances, nearness: ClassSimilarity, rule: MatchRule, threshold: float) -> Instances:
    """The masks with a class and a score: 0 the background, from 1 the vocabulary's; UNLABELED where it is unknown.

    The score in [0, 1] is what was compared with the threshold: the cosine with the class, or its probability under
    CLIP's softmax; of what is too far from all classes, what that lacks of 1.
    """
    values = nearness.cosines if rule.measure == "cosine" else _softmax(nearness.cosines * LOGIT_SCALE)
    best = values[:, 1:].argmax(axis=1) + 1
    rows = np.arange(len(masks))
    far = values[rows, best] < threshold
    background = values[:, 0] >= values[rows, best]
    ordered = np.sort(values, axis=1)
    unsure = (ordered[:, -1] - ordered[:, -2] < rule.margin) & ~far
    unknown = unsure | (nearness.tokens < rule.min_tokens) | (masks.areas == 0)
    sure = values.clip(0, 1)
    chosen = sure[rows, best]
    scores = np.where(background, sure[:, 0], np.where(far, 1 - chosen, chosen))
    classes = np.where(unknown, UNLABELED, np.where(far | background, BACKGROUND_INDEX, best))
    makers = np.full(len(masks), Provenance.ZERO_SHOT, dtype=object)
    return replace(masks, classes=classes.astype(np.int32), scores=scores.astype(np.float32), provenance=makers)


def flatten(masks: Instances, priority: npt.ArrayLike) -> Instances:
    """What is seen of each mask once all are painted, those of greater priority (N,) over the others.

    Masks that are wholly hidden go; of equal priority, the earlier one is seen.
    """
    canvas = np.full(masks.size_hw, -1, dtype=np.int32)
    for index in np.argsort(-np.asarray(priority), kind="stable")[::-1]:
        x0, _, x1, _ = masks.boxes_xyxy[index].astype(int)
        if x1 > x0:
            inside = rle.decode_columns(masks.counts[index], masks.size_hw, x0, x1)
            canvas[:, x0:x1][inside] = index
    seen = np.unique(canvas[canvas >= 0])
    kept = masks.filter(seen)
    shown = [_encode_part(canvas, box, index) for index, box in zip(seen, kept.boxes_xyxy.astype(int), strict=True)]
    return Instances.from_rle(
        shown,
        masks.size_hw,
        provenance=list(kept.provenance),
        scores=kept.scores,
        classes=kept.classes,
        stabilities=kept.stabilities,
        points_xy=kept.points_xy,
    )


def label_map(masks: Instances, decided: Instances, overlaps: Overlaps) -> Instances:
    """Masks that do not overlap and have a class, background among them; unknown ones leave a hole.

    `masks` are those that were decided on, whose own scores (a SAM's predicted IoU) are a priority to choose.
    """
    priority = -masks.areas if overlaps == "smallest" else masks.scores
    flat = flatten(decided, priority)
    return flat.filter(flat.classes != UNLABELED)


def objects(decided: Instances) -> Instances:
    """The masks that are some class's, overlapping as they may, with classes from 0: the background is no object."""
    found = decided.filter(decided.classes > BACKGROUND_INDEX)
    return replace(found, classes=found.classes - 1)


def _encode_part(canvas: npt.NDArray[np.int32], box: npt.NDArray[np.int64], index: int) -> rle.Counts:
    """The pixels of one index, all within a box (pixels, x0, y0, x1, y1)."""
    x0, y0, x1, y1 = (int(side) for side in box)
    part = rle.encode(canvas[None, y0:y1, x0:x1] == index)[0]
    return rle.place(part, (y1 - y0, x1 - x0), (x0, y0), (canvas.shape[0], canvas.shape[1]))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
