"""Names of figures are written and read alike: what a table or report asks for, an evaluator or a method gives."""

from dataclasses import fields

import pytest

from bench import table_text
from segray import metric_names
from segray.evaluation.average_precision import ApResult
from segray.evaluation.pseudo_labels import LabelQuality
from segray.evaluation.recall import RecallResult
from segray.masks.mean_iou import IouResult
from segray.methods import component_counts
from segray.training.reports.headline_metric import AP, MIOU

AVERAGE_PRECISION = ApResult(**dict.fromkeys(metric_names.AP_FIGURES, 0.5), per_class={"x": 0.5}, num_images=1)
SHARES = dict.fromkeys(("miou", "miou_seen", "accuracy", "coverage"), 0.5)
IOU = IouResult(**SHARES, per_class={"x": 0.5}, num_images=1, num_pixels=1)


@pytest.mark.parametrize(("measure", "result"), [(AP, AVERAGE_PRECISION), (MIOU, IOU)], ids=["ap", "miou"])
def test_what_a_measure_names_is_what_its_evaluator_gives(measure, result):
    assert result.figures().keys() >= {*measure.names, *measure.curves, metric_names.part(measure.of_class, "x")}


def test_the_quality_of_pseudo_labels_has_the_names_that_reports_ask_for():
    asked = {
        metric_names.PRECISION,
        metric_names.RECALL,
        metric_names.MATCHED_IOU,
        metric_names.BEST_IOU,
        metric_names.CLASS_ACCURACY,
    }
    assert {one.name for one in fields(LabelQuality)} >= asked
    assert RecallResult(recall=0.5, num_images=1).figures() == {metric_names.RECALL: 0.5}


def test_tables_ask_for_counts_that_methods_give():
    named = {value for name, value in vars(component_counts).items() if name.isupper()}
    assert set(table_text.ACTIONS) == named


@pytest.mark.parametrize(("network", "name"), [("", "ap"), ("teacher", "teacher_ap")])
def test_a_network_beside_the_student_has_its_name_before_its_figures(network, name):
    assert metric_names.of_network(network, metric_names.AP) == name
