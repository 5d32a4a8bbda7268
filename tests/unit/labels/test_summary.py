import pytest

from segray.config.label import Cost, LabelWorkers
from segray.errors import LabelError
from segray.labels.summary import LabelTally, PartCounts, summarize


def tally(*parts):
    total = LabelTally()
    for part in parts:
        total.add(part)
    return total


def part(images=10, masks=50, refused=None, seconds=20.0):
    mean = seconds / images
    return PartCounts(images=images, masks=masks, refused=refused or {}, seconds=seconds, squares=mean**2 * images)


def end(total, *, outcome="complete", remaining=0, workers=None, cost=None):
    return summarize(
        total,
        store="s",
        outcome=outcome,
        known=3,
        remaining=remaining,
        startup_s=10.0,
        wall_s=30.0,
        store_refused_share=0.0,
        workers=workers or LabelWorkers(),
        cost=cost or Cost(),
    )


def test_parts_add_up():
    summary = end(tally(part(refused={"empty": 1}), part(refused={"empty": 2, "damaged": 1})))
    assert (summary.images, summary.masks, summary.known) == (20, 100, 3)
    assert summary.refused == {"empty": 3, "damaged": 1}
    assert summary.images_per_s == pytest.approx(20 / 20)
    assert summary.actor_s_per_image == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("gpus", "price", "cost", "gpu_s"),
    [(0, None, None, 0), (0, 3.6, 0.04, 0), (1, 3.6, 0.04, 2.0), (0.5, 3.6, 0.02, 1.0)],
)
def test_cost_is_the_gpu_share_times_the_actors_time(gpus, price, cost, gpu_s):
    summary = end(tally(part(), part()), workers=LabelWorkers(gpus=gpus), cost=Cost(per_gpu_hour=price))
    assert summary.cost == (pytest.approx(cost) if cost is not None else None)
    assert summary.gpu_s_per_image == pytest.approx(gpu_s)
    assert summary.cost_per_1000 == (pytest.approx(cost * 50) if cost is not None else None)


def test_a_sample_forecasts_the_rest():
    total = tally(part(seconds=10.0), part(seconds=30.0))
    workers = LabelWorkers(gpus=1, num_workers=4, images_per_batch=10)
    forecast = end(total, outcome="sample", remaining=1800, workers=workers, cost=Cost(per_gpu_hour=2)).forecast
    assert forecast.images == 1800
    assert forecast.actor_hours == forecast.gpu_hours == pytest.approx(1.0)
    assert forecast.wall_hours == pytest.approx(0.25)
    assert forecast.cost == pytest.approx(2.0)
    # Two batches of ten at 1 and 3 s per image: mean 2, standard error 1 / sqrt(2).
    assert forecast.actor_hours_error == pytest.approx(1.96 * 2**-0.5 / 2, rel=1e-6)


@pytest.mark.parametrize("outcome", ["complete", "budget"])
def test_only_a_sample_forecasts(outcome):
    assert end(tally(part()), outcome=outcome, remaining=5).forecast is None


def test_a_run_without_images():
    summary = end(tally())
    assert (summary.images_per_s, summary.actor_s_per_image) == (0, 0)


@pytest.mark.parametrize(
    ("refused", "images", "stops"),
    [
        ({"failed": 99}, 99, False),
        ({"failed": 100}, 199, True),
        ({"failed": 60, "ends-process": 60}, 200, True),
        ({"failed": 100}, 200, False),
        ({"damaged": 500, "too-large": 500}, 1000, False),
    ],
)
def test_code_that_fails_at_most_images_stops_the_job(refused, images, stops):
    total = tally(part(images=images, refused=refused))
    if stops:
        with pytest.raises(LabelError, match=r"of the first \d+ images failed"):
            total.check()
    else:
        total.check()


def test_objects_without_a_mask_are_told_once_there_are_some():
    assert end(tally(part())).tallies == {}
    one = PartCounts(images=1, masks=5, refused={}, seconds=1.0, squares=1.0, left_out={"have empty boxes": 2})
    assert end(tally(one, one)).tallies["objects"].lines() == [
        "14 objects read, 10 used",
        "  4 of 14 objects have empty boxes",
    ]
