import math
from dataclasses import replace

import pytest
import torch

from segray.methods.s4m.config import PseudoLabels
from segray.methods.s4m.pseudo_labels import select_predictions

SETTINGS = PseudoLabels(score_threshold=0.7, min_soft_area=5 / 64, mask_threshold=0.5)


def class_logits(probability: float, label: int, classes: int = 3) -> torch.Tensor:
    """(classes + 1,) of which `label` has the probability, the others the rest in equal shares."""
    logits = torch.full((classes + 1,), math.log((1 - probability) / classes))
    logits[label] = math.log(probability)
    return logits


def mask_logits(inside: int, probability: float = 0.99, outside: float = 1e-6) -> torch.Tensor:
    """(8, 8) with so many cells of a probability."""
    probabilities = torch.full((64,), outside)
    probabilities[:inside] = probability
    return probabilities.logit().view(8, 8)


@pytest.mark.parametrize(
    ("classes", "mask", "kept"),
    [
        (class_logits(0.9, 1), mask_logits(10), True),
        (class_logits(0.71, 0), mask_logits(10), True),
        (class_logits(0.69, 0), mask_logits(10), False),
        (class_logits(0.9, 3), mask_logits(10), False),
        (class_logits(0.9, 1), mask_logits(6), True),
        (class_logits(0.9, 1), mask_logits(5), False),
        (class_logits(0.9, 1), mask_logits(64, 0.49), False),
        (class_logits(0.9, 1), mask_logits(64, 0.51), True),
        (class_logits(0.9, 1), mask_logits(1, 0.9, outside=0.1), True),
    ],
    ids=[
        "good",
        "just sure",
        "unsure",
        "no object",
        "just large",
        "small",
        "nothing inside",
        "all inside",
        "soft area",
    ],
)
def test_a_query_is_kept_by_class_probability_soft_area_and_mask(
    classes: torch.Tensor, mask: torch.Tensor, kept: bool
) -> None:
    (predictions,) = select_predictions(classes[None, None], mask[None, None], SETTINGS)
    assert len(predictions) == kept


def test_guesses_stay_with_their_images_in_query_order() -> None:
    good, bad = class_logits(0.9, 1), class_logits(0.9, 3)
    classes = torch.stack(
        [torch.stack([bad, good, class_logits(0.8, 2)]), torch.stack([bad] * 3), torch.stack([good, bad, bad])]
    )
    masks = torch.stack(
        [torch.stack([mask_logits(10 * image + query + 7) for query in range(3)]) for image in range(3)]
    )
    first, none, last = select_predictions(classes.half(), masks.half(), SETTINGS)
    assert first.classes.tolist() == [1, 2]
    assert last.classes.tolist() == [1]
    assert first.scores.tolist() == pytest.approx([0.9, 0.8], abs=1e-2)
    assert [int((one > 0).sum()) for one in (*first.logits, *last.logits)] == [8, 9, 27]
    assert none.logits.shape == (0, 8, 8)
    assert first.logits.dtype == torch.float32


@pytest.mark.parametrize("mask_threshold", [0.3, 0.5, 0.8])
def test_the_mask_s_threshold_is_a_probability(mask_threshold: float) -> None:
    probabilities = torch.linspace(0.01, 0.99, 64).view(1, 1, 8, 8)
    settings = PseudoLabels(mask_threshold=mask_threshold)
    (predictions,) = select_predictions(class_logits(0.9, 0)[None, None], probabilities.logit(), settings)
    assert torch.equal(predictions.logits > predictions.threshold, probabilities[0] > mask_threshold)


def test_no_query_at_all_gives_empty_guesses() -> None:
    assert [len(one) for one in select_predictions(torch.zeros(2, 0, 4), torch.zeros(2, 0, 8, 8), SETTINGS)] == [0, 0]


@pytest.mark.parametrize(
    ("max_overlap", "kept"),
    [(1.0, [0.8, 0.9, 0.75]), (0.5, [0.8, 0.9]), (0.4, [0.9])],
    ids=["the papers' way", "same mask goes", "a third of the mask goes too"],
)
def test_of_masks_that_overlap_the_surer_stays(max_overlap: float, kept: list[float]) -> None:
    classes = torch.stack([class_logits(0.8, 0), class_logits(0.9, 1), class_logits(0.75, 2)])
    masks = torch.stack([mask_logits(10), mask_logits(20), mask_logits(19)])
    (predictions,) = select_predictions(classes[None], masks[None], replace(SETTINGS, max_overlap=max_overlap))
    assert predictions.scores.tolist() == pytest.approx(kept)
