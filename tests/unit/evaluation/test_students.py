"""A student measured: every image once however many workers, in batches, with its images shown on the way."""

from collections.abc import Sequence

import numpy as np
import pytest

from segray.evaluation.instance_scores import InstanceScores
from segray.evaluation.students import EvaluationExample, evenly_spread, measure_instances, measure_label_maps
from segray.masks.instances import Instances
from segray.masks.mean_iou import MeanIou
from segray.masks.semantic import from_map


def bright(images: Sequence[np.ndarray]) -> list[Instances]:
    """A student that takes what is bright for one object, rather sure of it."""
    return [Instances.from_masks(image.max(2)[None] > 128, provenance="student", classes=[0]) for image in images]


def examples(number: int) -> list[EvaluationExample]:
    """A bright square each; every third image's truth is another one."""
    made = []
    for index in range(number):
        mask = np.zeros((1, 40, 40), dtype=bool)
        mask[0, index : index + 10, 3:20] = True
        pixels = np.where(mask[0][:, :, None], 200, 20).astype(np.uint8).repeat(3, axis=2)
        true = np.roll(mask, 20, axis=2) if index % 3 == 2 else mask
        made.append(
            EvaluationExample(
                image_id=f"{index}.png", pixels=pixels, true=Instances.from_masks(true, provenance="gt", classes=[0])
            )
        )
    return made


@pytest.mark.parametrize("world", [1, 2, 5])
def test_every_image_once_on_any_number_of_workers(world: int) -> None:
    merged = InstanceScores(("thing",), 10)
    for rank in range(world):
        merged.merge(
            measure_instances(bright, examples(9), classes=("thing",), max_dets=10, rank=rank, world=world, batch=2)
        )
    result = merged.result().coco
    assert result.num_images == 9
    # 6 of 9 right, all equally sure: ranked by image, every third is wrong.
    assert result.ap == result.ap50
    assert 0.4 < result.ap < 0.7


@pytest.mark.parametrize("world", [1, 2, 5])
def test_maps_are_added_up_over_any_number_of_workers(world: int) -> None:
    classes, shown = ("background", "thing"), []
    made, whole = [], MeanIou(classes)
    for index, (true, found) in enumerate(np.random.default_rng(0).integers(0, 2, (7, 2, 5, 6), dtype=np.uint8)):
        whole.add(found, true)
        pixels = found[..., None].repeat(3, axis=2)
        made.append(EvaluationExample(image_id=str(index), pixels=pixels, true=from_map(true, provenance="gt")))

    def predict(images: Sequence[np.ndarray]) -> list[Instances]:
        return [from_map(image[..., 0], provenance="student") for image in images]

    merged = MeanIou(classes)
    for rank in range(world):
        own = measure_label_maps(
            predict,
            made,
            classes=classes,
            rank=rank,
            world=world,
            batch=2,
            seen=lambda example, _: shown.append(example.image_id),
        )
        merged.merge(own)
    assert sorted(shown) == [str(index) for index in range(7)]
    assert merged.result() == whole.result()


def test_images_are_shown_in_order() -> None:
    shown: list[tuple[str, int]] = []
    measure_instances(
        bright,
        examples(7),
        classes=("thing",),
        max_dets=10,
        limit=4,
        seen=lambda example, found: shown.append((example.image_id, len(found))),
    )
    assert shown == [("0.png", 1), ("1.png", 1), ("3.png", 1), ("5.png", 1)]


@pytest.mark.parametrize(
    ("number", "limit", "expected"),
    [(3, None, [0, 1, 2]), (3, 5, [0, 1, 2]), (10, 2, [0, 5]), (10, 3, [0, 3, 6]), (0, 3, [])],
)
def test_a_limit_takes_images_evenly(number: int, limit: int | None, expected: list[int]) -> None:
    assert evenly_spread(number, limit) == expected
