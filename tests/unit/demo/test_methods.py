"""What the demo asks for: label jobs, each after what it builds on, and trainings that can be had."""

import re

import pytest

from segray.config.base import plain
from segray.demo.methods import METHODS, Size, World
from segray.jobs.demo import train_config

SIZE = Size(train_images=20, sample=6, validation_images=4, steps=3, map_steps=5, tagger_steps=7)


@pytest.fixture
def world(tmp_path):
    roles = ("labeled", "unlabeled", "hidden", "validation")
    data = {role: {"kind": "coco", "uri": "images", "annotations": f"{role}.json"} for role in roles}
    sample = {**data["unlabeled"], "annotations": "sample.json"}
    return World(folder=tmp_path, data=data, sample=sample, size=SIZE)


@pytest.fixture
def asked(world):
    """`asked(method)`: the label jobs by name, whose stores are called as they are, and the trainings."""

    def ask(method):
        jobs = {}

        def label(name, config):
            jobs[name] = config
            return name

        return jobs, METHODS[method](world, label)

    return ask


@pytest.mark.parametrize(
    ("method", "jobs", "trainings"),
    [
        ("s4m", ["masks"], ["Supervised", "S4M"]),
        ("unimatch", ["masks", "classes"], ["Supervised", "UniMatch", "UniMatch + zero-shot labels"]),
        ("sepl", ["masks", "cam", "cam-to-vote", "vote"], ["Student of CAM", "Student of CAM + SEPL"]),
    ],
)
def test_jobs_and_trainings_in_their_order(asked, world, method, jobs, trainings):
    labeled, trained = asked(method)
    assert list(labeled) == jobs
    assert list(trained) == trainings
    assert {config.stores for config in labeled.values()} == {str(world.stores)}
    assert labeled["masks"].source.annotations == ("sample.json" if method == "s4m" else "unlabeled.json")
    configs = [train_config(world, one) for one in trained.values()]
    assert len({str(plain(config.method)) + str(plain(config.data)) for config in configs}) == len(configs)


@pytest.mark.parametrize("method", METHODS)
def test_no_label_job_is_told_of_what_students_are_measured_on(asked, method):
    jobs, _ = asked(method)
    for config in jobs.values():
        assert not {"hidden.json", "validation.json"} & set(re.findall(r"\w+\.json", str(plain(config))))


def test_what_sam_and_clip_say_is_of_the_masks_and_guides_the_last_student(asked, world):
    jobs, trainings = asked("unimatch")
    assert jobs["classes"].masks == "masks"
    assert jobs["classes"].threshold.labeled.annotations == "labeled.json"
    methods = [train_config(world, one).method for one in trainings.values()]
    assert [getattr(one, "zero_shot", None) is not None for one in methods] == [False, False, True]
    assert methods[-1].zero_shot.store == "classes"
    assert {one.schedule.steps for one in methods} == {SIZE.map_steps}


def test_tags_alone_teach_the_students_of_maps(asked, world):
    jobs, trainings = asked("sepl")
    assert (jobs["vote"].masks, jobs["vote"].maps.uri) == ("masks", "cam-to-vote")
    assert jobs["cam-to-vote"].maps.threshold.voting.masks == "masks"
    assert jobs["cam"].maps.threshold.voting is None
    assert jobs["cam"].tagger.steps == SIZE.tagger_steps
    configs = [train_config(world, one) for one in trainings.values()]
    assert [one.data.labeled.uri for one in configs] == ["cam", "vote"]
    assert all(one.data.unlabeled is None for one in configs)
