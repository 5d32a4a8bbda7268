"""The evaluate job on students of label maps."""

import json

import pytest

from segray.config.base import build
from segray.config.evaluate import EvaluateConfig
from segray.config.students import Fpn, SemanticPredict
from segray.errors import ConfigError
from segray.evaluate.mean_iou import IouResult
from segray.jobs.evaluate import evaluate
from segray.models.build import build_student
from segray.models.package import save_student
from segray.testing import write_coco


@pytest.fixture
def config(tmp_path):
    """`config(**changes)`: a student of background, disc and square, on four images."""
    world = write_coco(tmp_path / "world", 4)
    student = build_student(Fpn(width=16, predict=SemanticPredict(side=64)), ("background", "disc", "square"), seed=0)
    save_student(student, str(tmp_path / "student"), info={})

    def make(**changes):
        data = {"kind": "coco", "uri": world.uri, "annotations": world.annotations}
        given = {"job": "evaluate", "student": str(tmp_path / "student"), "data": data, "out": str(tmp_path / "out")}
        return build(EvaluateConfig, given | {"device": "cpu"} | changes, "test")

    return make


def test_figures_are_miou_and_predictions_cover_every_pixel(config, tmp_path):
    result = evaluate(config())
    assert isinstance(result, IouResult)
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["images"] == 4
    assert figures["miou"] == pytest.approx(result.miou)
    assert figures["coverage"] == 1
    assert {"iou/background", "iou/disc", "iou/square"} <= figures.keys()
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {one["category"] for one in predictions} <= {"background", "disc", "square"}


def test_another_way_to_predict_is_of_the_students_kind(config):
    assert evaluate(config(predict={"side": 96})).miou != evaluate(config()).miou
    with pytest.raises(ConfigError, match="top_k: unknown key"):
        evaluate(config(predict={"top_k": 1}))
