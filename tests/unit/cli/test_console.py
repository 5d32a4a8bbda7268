import pytest

from segray.cli import console
from segray.config.label import Cost, LabelWorkers
from segray.evaluation.recall import RecallResult
from segray.jobs.train import RunResult
from segray.labels.summary import LabelTally, PartCounts, summarize
from segray.masks.mean_iou import IouResult
from segray.training.runs.folder import RunFolder


def told(capsys, workers, *, refused_share=0.0):
    tally = LabelTally()
    tally.add(PartCounts(images=10, masks=50, refused={}, seconds=3600.0, squares=10 * 360.0**2))
    summary = summarize(
        tally,
        store="s",
        outcome="sample",
        known=0,
        remaining=10,
        startup_s=1.0,
        wall_s=2.0,
        store_refused_share=refused_share,
        workers=workers,
        cost=Cost(per_gpu_hour=2.0),
    )
    console.label_summary(summary)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("gpus", "hours", "cost"),
    [
        (0.5, "actor-hours, 0.5 GPU-hours", "1 ± 0, cost.per_gpu_hour for each GPU-hour"),
        (0, "actor-hours, 1 h 00 min", "2 ± 0, cost.per_gpu_hour for each actor-hour, as no actor has a GPU"),
    ],
)
def test_a_forecast_says_which_hours_are_paid_for(capsys, monkeypatch, gpus, hours, cost):
    monkeypatch.setattr(console.out, "_width", 200)
    text = told(capsys, LabelWorkers(gpus=gpus))
    assert hours in text
    assert cost in text


def test_what_the_store_refused_before_is_said_again(capsys):
    assert "0, 12.5% of all in the store" in told(capsys, LabelWorkers(), refused_share=0.125)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (RecallResult(recall=0.488, num_images=3), ["AR@1000)  48.8"]),
        (
            IouResult(
                miou=0.27,
                miou_seen=0.4,
                accuracy=0.7,
                coverage=0.9,
                per_class={"leaf": 0.25},
                num_images=3,
                num_pixels=99,
            ),
            ["miou      27.0", "coverage  90.0", "  leaf    25.0"],
        ),
    ],
)
def test_labels_are_told_by_what_measures_them(capsys, result, told):
    console.evaluation(result)
    text = capsys.readouterr().out
    assert all(line in text for line in told)


@pytest.mark.parametrize(("figure", "name"), [("ap", "AP, %"), ("miou", "mIoU, %")])
def test_students_are_compared_by_what_they_were_measured_by(capsys, figure, name):
    folder = RunFolder(runs="runs", name="run")
    ends = {"base": {"last": {figure: 0.2}}, "more": {"last": {figure: 0.25}}}
    console.comparison(
        {one: RunResult(name=one, folder=folder, end=end, was_finished=False) for one, end in ends.items()}
    )
    text = capsys.readouterr().out
    assert name in text
    assert "25.0               +5.0" in text
