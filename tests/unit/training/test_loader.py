from pathlib import Path

import pytest
import torch

from segray import keyed_random
from segray.config.schedule import Schedule
from segray.config.views import WeakView
from segray.datasets.training_rows import TrainingRows
from segray.errors import ConfigError, TrainError
from segray.formats.registry import open_source
from segray.testing import write_coco
from segray.training.augmentation.batch import Batch, collate
from segray.training.loader import StepLoader

VIEW = WeakView(canvas_hw=(32, 32))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingRows, TrainingRows]:
    folder = tmp_path_factory.mktemp("rows")
    labeled = open_source(write_coco(folder / "labeled", 5))
    unlabeled = open_source(write_coco(folder / "unlabeled", 11, seed=1))
    return (
        TrainingRows.build(labeled, folder / "labeled.arrow"),
        TrainingRows.build(unlabeled, folder / "unlabeled.arrow", with_masks=False),
    )


def steps(rows, *, accumulate=1, world=1, start_step=0, loaders=0, seed=3, number=6) -> list[tuple[Batch, Batch]]:
    """The global batches of a run: all workers' pieces, in order."""
    schedule = Schedule(steps=number, labeled_batch=4, unlabeled_batch=8, accumulate=accumulate)
    options = {"seed": seed, "world": world, "start_step": start_step, "loaders": loaders}
    workers = [StepLoader(*rows, VIEW, schedule, rank=rank, **options) for rank in range(world)]
    merged = []
    for pieces_of_workers in zip(*workers, strict=True):
        assert [len(pieces) for pieces in pieces_of_workers] == [accumulate] * world
        pieces = [piece for own in pieces_of_workers for piece in own]
        assert {len(labeled) for labeled, _ in pieces} == {4 // world // accumulate}
        merged.append((collate([one for one, _ in pieces]), collate([one for _, one in pieces])))
    return merged


def assert_same(first, second):
    assert len(first) == len(second)
    for ours, theirs in zip(first, second, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one.keys, one.image_ids, one.views) == (other.keys, other.image_ids, other.views)
            assert torch.equal(one.images, other.images)
            for mine, yours in zip(one.targets, other.targets, strict=True):
                assert torch.equal(mine.classes, yours.classes)
                assert torch.equal(mine.masks, yours.masks)


@pytest.mark.parametrize(("world", "accumulate"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_any_workers_and_pieces_see_the_same_global_batch(rows, world, accumulate):
    assert_same(steps(rows), steps(rows, world=world, accumulate=accumulate))


@pytest.mark.parametrize("start_step", [1, 5, 6])
def test_a_resumed_run_sees_what_the_whole_one_saw(rows, start_step):
    assert_same(steps(rows)[start_step:], steps(rows, start_step=start_step))


def test_loader_processes_load_the_same(rows):
    state = torch.get_rng_state()
    assert_same(steps(rows, start_step=2), steps(rows, start_step=2, loaders=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_every_image_once_per_epoch_in_a_new_order(rows):
    seen = [image_id for _, unlabeled in steps(rows, number=11) for image_id in unlabeled.image_ids]
    epochs = [seen[start : start + 11] for start in range(0, 88, 11)]
    assert all(sorted(epoch) == sorted(set(seen)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_keys_say_seed_step_stream_and_slot(rows):
    labeled, unlabeled = steps(rows)[2]
    assert labeled.keys == tuple(keyed_random.key(3, 2, "labeled", slot) for slot in range(4))
    assert unlabeled.keys == tuple(keyed_random.key(3, 2, "unlabeled", slot) for slot in range(8))
    assert not set(steps(rows, seed=4)[2][0].keys) & set(labeled.keys)


def test_masks_go_with_labeled_images_only(rows):
    labeled, unlabeled = collate([one for one, _ in steps(rows)]), collate([one for _, one in steps(rows)])
    assert any(len(one) for one in labeled.targets)
    assert not any(len(one) for one in unlabeled.targets)


def test_without_unlabeled_images_pieces_have_none(rows):
    loader = StepLoader(rows[0], None, VIEW, Schedule(steps=2, labeled_batch=2), seed=0)
    assert [[(len(labeled), rest) for labeled, rest in pieces] for pieces in loader] == [[(2, None)]] * 2


def test_shares_that_do_not_come_out_even_are_refused(rows):
    schedule = Schedule(labeled_batch=4, unlabeled_batch=6, accumulate=2)
    with pytest.raises(ConfigError, match="unlabeled_batch is 6: 2 workers x 2 pieces"):
        StepLoader(*rows, VIEW, schedule, seed=0, world=2)


@pytest.mark.parametrize("loaders", [0, 1])
def test_an_image_that_went_away_is_one_clear_error(tmp_path: Path, loaders):
    source = write_coco(tmp_path, 4)
    rows = TrainingRows.build(open_source(source), tmp_path / "rows.arrow")
    (Path(source.uri) / "00002.png").unlink()
    with pytest.raises(TrainError, match=r"^[^\n]*00002\.png[^\n]*$"):
        list(StepLoader(rows, None, VIEW, Schedule(steps=1, labeled_batch=4), seed=0, loaders=loaders))
