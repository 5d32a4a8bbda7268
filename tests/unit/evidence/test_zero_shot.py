"""Classes from planted features: a map made of text embeddings must give back its classes exactly."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segray.config.evidence import MatchRule, Vocabulary
from segray.evidence.zero_shot import (
    ClassSimilarity,
    assign_classes,
    compare_with_classes,
    embed,
    flatten,
    label_map,
    objects,
    pool_under_masks,
)
from segray.masks.instances import UNLABELED, Instances
from segray.masks.semantic import paint

WORDS = ("fish", "leaf", "gear", "sky", "trout", "cog")
SPACE = F.normalize(torch.randn(len(WORDS), 16, generator=torch.Generator().manual_seed(3)), dim=-1)
VOCABULARY = Vocabulary(classes=("fish", "leaf", "gear"), templates=("{}",))


def texts(prompts):
    """A text encoder of six words."""
    return torch.stack([SPACE[WORDS.index(prompt)] for prompt in prompts])


def rectangles(size_hw, *sides, scores=None):
    dense = np.zeros((len(sides), *size_hw), bool)
    for one, (y0, x0, y1, x1) in zip(dense, sides, strict=True):
        one[y0:y1, x0:x1] = True
    return Instances.from_masks(dense, provenance="sam", scores=scores if scores is not None else [0.5] * len(sides))


def planted(words, grid_hw=(8, 8)):
    """A map whose left half says the first word, and whose right half the second."""
    features = torch.empty(*grid_hw, 16)
    features[:, : grid_hw[1] // 2], features[:, grid_hw[1] // 2 :] = (SPACE[WORDS.index(word)] for word in words)
    return features


@pytest.mark.parametrize("words", [("fish", "leaf"), ("gear", "fish")])
@pytest.mark.parametrize("measure", ["cosine", "softmax"])
def test_planted_features_give_the_label_map_back(words, measure):
    masks = rectangles((64, 96), (0, 0, 64, 48), (10, 48, 40, 96), (0, 50, 8, 90))
    nearness = compare_with_classes(planted(words), masks, embed(VOCABULARY, texts))
    decided = assign_classes(masks, nearness, MatchRule(measure=measure), 0.5)
    expected = [VOCABULARY.classes.index(words[index]) + 1 for index in (0, 1, 1)]
    assert decided.classes.tolist() == expected
    assert decided.scores == pytest.approx(1.0, abs=1e-3)
    truth = np.full((64, 96), 255)
    truth[:, :48], truth[10:40, 48:], truth[0:8, 50:90] = expected
    assert np.array_equal(paint(label_map(masks, decided, "smallest")), truth)


@pytest.mark.parametrize(("measure", "threshold", "sure"), [("cosine", 0.25, 1 - 0.212), ("softmax", 0.5, 1 - 0.402)])
def test_below_the_threshold_is_background(measure, threshold, sure):
    masks = rectangles((64, 64), (0, 0, 64, 32), (0, 32, 64, 64))
    nearness = ClassSimilarity(
        cosines=np.array([[-np.inf, 0.3, 0.1, 0.1], [-np.inf, 0.212, 0.21, 0.208]]), tokens=np.ones(2)
    )
    decided = assign_classes(masks, nearness, MatchRule(measure=measure), threshold)
    assert decided.classes.tolist() == [1, 0]
    assert decided.scores[1] == pytest.approx(sure, abs=1e-3)
    assert objects(decided).classes.tolist() == [0]


@pytest.mark.parametrize(
    ("cosines", "tokens", "rule", "expected"),
    [
        ([0.10, 0.30, 0.1], 4, {}, 1),
        ([0.31, 0.30, 0.1], 4, {}, 0),
        ([-np.inf, 0.30, 0.29], 4, {"margin": 0.02}, UNLABELED),
        ([0.29, 0.30, 0.1], 4, {"margin": 0.02}, UNLABELED),
        ([-np.inf, 0.30, 0.27], 4, {"margin": 0.02}, 1),
        ([-np.inf, 0.30, 0.1], 0.9, {}, UNLABELED),
        ([-np.inf, 0.30, 0.1], 0.9, {"min_tokens": 0.5}, 1),
        ([-np.inf, 0.10, 0.09], 4, {"margin": 0.02}, 0),
    ],
)
def test_background_by_concept_and_when_a_mask_is_unknown(cosines, tokens, rule, expected):
    masks = rectangles((8, 8), (0, 0, 8, 8))
    nearness = ClassSimilarity(cosines=np.array([cosines]), tokens=np.array([tokens]))
    assert assign_classes(masks, nearness, MatchRule(measure="cosine", **rule), 0.2).classes.tolist() == [expected]


def test_the_nearest_of_a_classs_concepts_counts():
    vocabulary = Vocabulary(
        classes=("fish", "gear"), synonyms={"fish": ("fish", "trout")}, background=("sky",), templates=("{}",)
    )
    masks = rectangles((64, 64), (0, 0, 64, 32), (0, 32, 64, 64))
    nearness = compare_with_classes(planted(("trout", "sky")), masks, embed(vocabulary, texts))
    assert nearness.cosines[0, 1] == pytest.approx(1, abs=1e-5)
    assert nearness.cosines[1, 0] == pytest.approx(1, abs=1e-5)
    assert assign_classes(masks, nearness, MatchRule(), 0.5).classes.tolist() == [1, 0]


def test_clips_templates_have_a_name():
    templates = Vocabulary(classes=("fish",), templates="clip-80").templates
    assert len(set(templates)) == 80
    assert {templates[0], templates[-1]} == {"a bad photo of a {}.", "a tattoo of the {}."}


def test_templates_are_averaged_as_unit_vectors():
    asked = []

    def encoder(prompts):
        asked.extend(prompts)
        return texts([prompt.split()[-1] for prompt in prompts])

    vocabulary = Vocabulary(classes=("fish",), synonyms={"fish": ("fish", "cog")}, templates=("a {}", "the {}"))
    concepts = embed(vocabulary, encoder)
    assert asked == ["a fish", "the fish", "a cog", "the cog"]
    assert torch.allclose(concepts.vectors, SPACE[[0, 5]], atol=1e-6)


def test_tokens_of_any_length_weigh_the_same():
    features = planted(("fish", "leaf"))
    features[:4] *= 100
    features[:, 4:, :8] += 0.3
    pooled, _ = pool_under_masks(features, rectangles((64, 64), (0, 0, 64, 64)))
    mean = F.normalize(features.flatten(0, 1), dim=-1).mean(0)
    assert torch.allclose(pooled[0], F.normalize(mean, dim=0), atol=1e-5)


def test_a_mask_smaller_than_a_token_reads_the_map_between_tokens():
    masks = rectangles((64, 64), (30, 31, 32, 33))
    pooled, tokens = pool_under_masks(planted(("fish", "leaf")), masks)
    assert tokens[0] == pytest.approx(4 / 64)
    assert torch.allclose(pooled[0], F.normalize(SPACE[0] + SPACE[1], dim=0), atol=1e-4)


OVERLAPPING = ((0, 0, 16, 16), (4, 4, 12, 12), (6, 6, 8, 8))


@pytest.mark.parametrize(
    ("overlaps", "scores", "areas"),
    [
        ("smallest", [0.9, 0.5, 0.1], [256 - 64, 64 - 4, 4]),
        ("best", [0.9, 0.5, 0.1], [256]),
        ("best", [0.1, 0.9, 0.5], [256 - 64, 64]),
        ("best", [0.1, 0.5, 0.9], [256 - 64, 64 - 4, 4]),
    ],
)
def test_overlaps_are_resolved_in_the_order_asked_for(overlaps, scores, areas):
    masks = rectangles((16, 16), *OVERLAPPING, scores=scores)
    nearness = ClassSimilarity(cosines=np.array([[-np.inf, 0.9, 0.1]] * 3), tokens=np.ones(3))
    decided = assign_classes(masks, nearness, MatchRule(), 0.5)
    flat = label_map(masks, decided, overlaps)
    assert sorted(flat.areas.tolist()) == sorted(areas)
    assert flat.to_masks().sum(0).max() == 1


def test_what_is_unknown_leaves_a_hole():
    masks = rectangles((16, 16), *OVERLAPPING)
    nearness = ClassSimilarity(cosines=np.array([[-np.inf, 0.9, 0.1]] * 3), tokens=np.array([9, 9, 0.1]))
    flat = paint(label_map(masks, assign_classes(masks, nearness, MatchRule(), 0.5), "smallest"))
    assert (flat == 255).sum() == 4
    assert (flat[6:8, 6:8] == 255).all()


def test_an_empty_mask_is_skipped():
    masks = rectangles((16, 16), (0, 0, 16, 16), (4, 4, 4, 4))
    nearness = compare_with_classes(planted(("fish", "fish")), masks, embed(VOCABULARY, texts))
    decided = assign_classes(masks, nearness, MatchRule(min_tokens=0), 0.5)
    assert decided.classes.tolist() == [1, UNLABELED]
    assert len(label_map(masks, decided, "smallest")) == 1


def test_no_masks_are_no_classes():
    masks = Instances.empty((16, 16))
    decided = assign_classes(
        masks, compare_with_classes(planted(("fish", "fish")), masks, embed(VOCABULARY, texts)), MatchRule(), 0.5
    )
    assert len(decided) == len(label_map(masks, decided, "smallest")) == len(flatten(decided, [])) == 0
