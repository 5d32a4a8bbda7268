"""The evaluate job on students of label maps, and on stores."""

import json
from pathlib import Path
from types import MappingProxyType

import pytest

from segray.config.base import build
from segray.config.evaluate import EvaluateConfig
from segray.config.students import Fpn, SemanticPredict
from segray.errors import ConfigError, DamageError
from segray.evaluation.recall import RecallResult
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.jobs import inputs
from segray.jobs.evaluate import evaluate
from segray.masks.mean_iou import IouResult
from segray.models.build import build_student
from segray.models.package import save_student
from segray.store import Store
from segray.store.rows import LabeledRow
from segray.tally import Tally
from segray.testing import write_coco


@pytest.fixture
def config(tmp_path):
    """`config(**changes)`: a student of background, disc and square, on four images."""
    world = write_coco(tmp_path / "world", 4)
    student = build_student(Fpn(width=16, predict=SemanticPredict(side=64)), ("background", "disc", "square"), seed=0)
    save_student(student, str(tmp_path / "student"), info={})

    def make(predicting=MappingProxyType({}), **changes):
        data = {"kind": "coco", "uri": world.uri, "annotations": world.annotations}
        given = {"job": "evaluate", "data": data, "out": str(tmp_path / "out")}
        student = {"uri": str(tmp_path / "student"), "device": "cpu"}
        return build(EvaluateConfig, given | {"student": student | predicting} | changes, "test")

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
    assert evaluate(config({"predict": {"side": 96}})).miou != evaluate(config()).miou
    with pytest.raises(ConfigError, match="top_k: unknown key"):
        evaluate(config({"predict": {"top_k": 1}}))


def test_a_store_leaves_its_figures_and_no_predictions(config, tmp_path):
    world = open_source(write_coco(tmp_path / "world", 4))
    store = Store.create(str(tmp_path / "stores"), "masks", {})
    store.write_part([LabeledRow(image=row, instances=world.instances(row.image_id)) for row in world.rows()])
    told = []
    result = evaluate(config(student=None, store={"uri": store.uri}), lambda *at: told.append(at))
    assert isinstance(result, RecallResult)
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    tally = Tally.from_json(figures.pop("tally"))
    assert (tally["images"].used, tally["annotations"].used) == (4, 6)
    assert figures == {"store": store.uri, "images": 4, "recall": pytest.approx(1)}
    assert told[-1] == (4, 4)
    assert not (tmp_path / "out" / "predictions.json").exists()


CASES = Path(__file__).parents[4] / "shared/cases"


@pytest.mark.parametrize(
    ("file", "crowds", "used", "recall"),
    [
        ("00-base/instances.json", "leave_out", 24, 1),
        ("04-crowd-masks/all.json", "masks", 24, 1),
        ("04-crowd-masks/mixed.json", "masks", 24, 0.929),
        ("04-crowd-masks/mixed.json", "leave_out", 12, 0.858),
    ],
)
def test_the_same_masks_have_the_same_recall_whatever_their_flags(config, tmp_path, file, crowds, used, recall):
    """The twelve masks of mixed.json that are no crowds are coarse polygons of the true ones."""
    given = {"kind": "coco", "uri": str(CASES / "00-base/images")}
    base = open_source(CocoSource(**given | {"annotations": str(CASES / "00-base/instances.json")}))
    store = Store.create(str(tmp_path / "stores"), "masks", {})
    store.write_part([LabeledRow(image=row, instances=base.instances(row.image_id)) for row in base.rows()])
    data = given | {"annotations": str(CASES / file), "crowds": crowds}
    result = evaluate(config(student=None, store={"uri": store.uri}, data=data))
    assert result.recall == pytest.approx(recall, abs=1e-3)
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert Tally.from_json(figures["tally"])["annotations"].used == used


def with_damage(world, number):
    """The world's file, in which this many annotations have no polygon left."""
    path = Path(world.annotations)
    document = json.loads(path.read_text())
    for annotation in document["annotations"][:number]:
        annotation["segmentation"] = [[1, 1, 2, 2]]
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("measured", ["student", "store"])
def test_damaged_truth_stops_before_anything_is_measured(config, tmp_path, measured):
    world = write_coco(tmp_path / "world", 4)
    store = Store.create(str(tmp_path / "stores"), "masks", {})
    rows = open_source(world)
    store.write_part([LabeledRow(image=row, instances=rows.instances(row.image_id)) for row in rows.rows()])
    with_damage(world, 2)
    changes = {"student": None, "store": {"uri": store.uri}} if measured == "store" else {}
    with pytest.raises(DamageError, match=r"data: 2 of 6 annotations \(33.3%\)"):
        evaluate(config(**changes))
    assert not (tmp_path / "out").exists()
    evaluate(config(**changes, max_damaged=0.34))
    tally = Tally.from_json(json.loads((tmp_path / "out" / "figures.json").read_text())["tally"])
    assert tally["annotations"].left_out["too-few-points"].number == 2


@pytest.mark.parametrize("changes", [{"student": None}, {"store": {"uri": "stores/masks"}}])
def test_one_thing_is_measured(config, changes):
    with pytest.raises(ConfigError, match=r"a \[student\] table, or a \[store\] table"):
        config(**changes)


def test_a_store_that_is_not_there_is_told_before_anything_starts(config, tmp_path):
    (problem,) = inputs.input_problems(config(student=None, store={"uri": str(tmp_path / "nowhere")}))
    assert problem.startswith("store.uri: ")


def test_images_of_another_size_than_their_masks_are_told(config, tmp_path):
    annotations = tmp_path / "world" / "instances.json"
    document = json.loads(annotations.read_text())
    document["images"][1].update(height=32, width=32)
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] != document["images"][1]["id"]]
    annotations.write_text(json.dumps(document))
    with pytest.raises(DamageError, match=r"00001\.png: \(height, width\) \(64, 64\), its masks are for \(32, 32\)"):
        evaluate(config())
