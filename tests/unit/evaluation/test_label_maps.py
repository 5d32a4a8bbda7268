"""Runs of label-map students are measured by mIoU, the same on any number of workers."""

import numpy as np
import pytest

from segray.evaluation.build import evaluator
from segray.evaluation.instances import InstanceEvaluator
from segray.evaluation.label_maps import LabelMapEvaluator
from segray.masks.semantic import paint
from segray.training.objective import NetworksOnly
from segray.training.plan import EvaluationRows


def measuring(made, **rows):
    """The run's objective, and what measures it."""
    chosen = {role: made.rows.get(role) for role in ("validation", "hidden")} | rows
    return made.objective(), made.plan.evaluator(made.context, EvaluationRows(**chosen))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_parts_of_workers_make_up_the_whole(tiny, world):
    objective, measure = measuring(tiny("unimatch", "student", "method.ema_half_life=5.0"))
    shards = [measure.shard(objective, rank=rank, world=world, final=True) for rank in range(world)]
    found = measure.result(shards)
    whole = measure.result([measure.shard(objective, rank=0, world=1, final=True)])
    assert found == pytest.approx(whole)
    classes = [f"{prefix}iou/{name}" for prefix in ("", "teacher_", "labels/") for name in objective.student.classes]
    assert found.keys() >= {"miou", "teacher_miou", "labels/miou", "labels/coverage", *classes}
    assert measure.metric in found


def test_a_student_alone_and_rows_that_are_not_there_leave_figures_out(tiny):
    objective, measure = measuring(tiny("unimatch", "student"), hidden=None)
    found = measure.result([measure.shard(NetworksOnly(objective.student), rank=0, world=1, final=True)])
    assert "miou" in found
    assert not any(name.startswith(("labels", "teacher")) for name in found)
    made = tiny("unimatch", "student")
    assert made.plan.evaluator(made.context, EvaluationRows(validation=None, hidden=None)) is None


def test_a_run_on_the_way_is_measured_on_few_images(tiny):
    objective, measure = measuring(tiny("unimatch", "student", "intervals.evaluate_images=2"))
    few, all_images = (measure.shard(objective, rank=0, world=1, final=final).students[""] for final in (False, True))
    assert (few.result().num_images, all_images.result().num_images) == (2, 4)


def test_panels_show_the_truth_the_label_map_and_the_student(tiny):
    objective, measure = measuring(tiny("unimatch", "student", "method.threshold=0.0"))
    for panel in measure.panels(objective, 2):
        columns = dict(panel.columns)
        assert list(columns) == ["truth", "label map", "student"]
        assert (paint(columns["student"]) != 255).all()
        assert np.array_equal(paint(columns["label map"]) == 255, paint(columns["truth"]) == 255)


def test_the_kind_of_student_says_what_measures_it(tiny):
    instances, maps = (tiny(method, "student") for method in ("supervised", "unimatch"))
    for made, kind in ((instances, InstanceEvaluator), (maps, LabelMapEvaluator)):
        rows = EvaluationRows(validation=made.rows["validation"], hidden=None)
        assert type(evaluator(made.context, rows)) is kind
