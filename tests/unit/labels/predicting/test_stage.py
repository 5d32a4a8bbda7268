"""The predict job from its config to its store, in this process."""

import shutil

import numpy as np
import pytest

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.config.students import Fpn, SemanticPredict
from segray.demo.coco import write_world
from segray.errors import BackendError, ConfigError, TrainError
from segray.images import decoding
from segray.jobs.label import label, prepare
from segray.labels.predicting.config import PredictConfig
from segray.models.build import build_student, load_student
from segray.models.package import save_student
from segray.models.promotion import record
from segray.store import Store, StoreKind

SHARPER = {"sam": {"kind": "original", "model": "nano"}}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three scenes that mask2former-nano knows, and a file that is no image."""
    folder = write_world(tmp_path_factory.mktemp("world"), "a", 3).parent / "images"
    (folder / "broken.png").write_bytes(b"no image")
    return str(folder)


@pytest.fixture
def config(photos, tmp_path):
    def make(student=str(MASK2FORMER_NANO), *, predict=None, **given):
        """The config of a job, with a student's folder or its whole table."""
        tables = {
            "job": "predict",
            "source": {"kind": "folder", "uri": photos},
            "student": student if isinstance(student, dict) else {"uri": student, "predict": predict},
            "stores": str(tmp_path / "stores"),
            "max_damaged": 0.5,
            "workers": {"num_workers": 0, "images_per_part": 2},
        }
        return build(PredictConfig, tables | given, "test")

    return make


@pytest.fixture
def semantic(tmp_path):
    student = build_student(Fpn(width=16, predict=SemanticPredict(side=64)), ("background", "disc", "square"), seed=0)
    save_student(student, str(tmp_path / "fpn"), info={})
    return str(tmp_path / "fpn")


def rows_of(store):
    return {row.image_id: row for row in Store.open(store)}


def test_a_student_of_instances_leaves_objects_that_it_would_predict(config):
    summary = label(config(score_threshold=0.3))
    assert (summary.outcome, summary.images, dict(summary.refused)) == ("complete", 4, {"not-an-image": 1})
    store, student = Store.open(summary.store), load_student(str(MASK2FORMER_NANO))
    assert store.manifest.kind is StoreKind.OBJECTS
    assert tuple(store.manifest.content["classes"]) == student.classes
    assert summary.masks > 5
    for image in store:
        if image.error is None:
            pixels, _ = decoding.load(image.uri, 10**8)
            (expected,) = student.predict([pixels])
            expected = expected[expected.scores >= 0.3]
            assert image.instances.counts.tolist() == expected.counts.tolist()
            assert image.instances.classes.tolist() == expected.classes.tolist()
            assert set(image.instances.provenance) <= {"student"}
    assert label(config(score_threshold=0.3)).images == 0


def test_a_student_of_label_maps_leaves_label_maps(config, semantic):
    summary = label(config(semantic))
    store = Store.open(summary.store)
    assert store.manifest.kind is StoreKind.LABEL_MAPS
    for image in store:
        if image.error is None:
            assert image.instances.areas.sum() == np.prod(image.instances.size_hw)


def test_images_go_tile_by_tile_where_the_predict_table_says_so(config):
    predict = {"side": 64, "tiles": {"size": 96, "overlap": 32}}
    whole, tiled = (label(config(predict=one, score_threshold=0.0)) for one in ({"side": 64}, predict))
    assert whole.store != tiled.store
    assert whole.masks != tiled.masks


def test_masks_that_sam_confirms_are_sams_and_the_others_are_marked(config):
    plain = rows_of(label(config(score_threshold=0.3)).store)
    summary = label(config(score_threshold=0.3, sharpen={**SHARPER, "min_agreement": 0.8}))
    kept = 0
    for name, row in rows_of(summary.store).items():
        if row.error is not None:
            continue
        before = plain[name].instances
        assert row.instances.scores.tolist() == before.scores.tolist()
        assert row.instances.classes.tolist() == before.classes.tolist()
        for index, reason in enumerate(row.instances.review_reasons()):
            if row.instances.provenance[index] == "sam:nano":
                assert not reason
            else:
                assert (row.instances.provenance[index], reason) == (
                    "student",
                    "student and SAM agree by less than 0.8",
                )
                assert row.instances.counts[index] == before.counts[index]
                kept += 1
    assert 0 < kept < summary.masks
    notes = summary.tallies["objects"]["objects"].notes
    assert [(one.number, one.reason.text) for one in notes.values()] == [
        (kept, "are for review: student and SAM agree by less than 0.8")
    ]


def test_a_promoted_name_is_the_student_that_it_stood_for_when_the_job_began(config, tmp_path):
    runs = tmp_path / "runs"
    for run in ("one", "two"):
        shutil.copytree(MASK2FORMER_NANO, runs / run / "best")
    record(str(runs), "street", {"action": "promote", "run": "one", "which": "best"})
    stage, named = prepare(config(str(runs / "promoted" / "street.json")))
    _, direct = prepare(config(str(runs / "two" / "best")))
    assert named.uri == direct.uri
    record(str(runs), "street", {"action": "promote", "run": "two", "which": "best"})
    assert stage.folder == str(runs / "one" / "best")


def test_another_student_in_the_place_of_the_one_that_was_seen_is_refused(config, semantic):
    stage, _ = prepare(config(semantic))
    other = build_student(Fpn(width=16, predict=SemanticPredict(side=64)), ("background", "disc", "square"), seed=1)
    save_student(other, semantic, info={})
    with pytest.raises(BackendError, match="another student than when the job was started"):
        stage.build()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"predict": {"sides": 64}}, ConfigError, r"student\.predict"),
        ({"student": "runs/promoted/nobody.json"}, TrainError, "nothing was promoted as 'nobody'"),
        ({"student": "nowhere"}, BackendError, "nowhere is no student"),
        ({"workers": {"points_per_batch": 8}}, ConfigError, r"workers.points_per_batch: 8 has no effect"),
        ({"student": {"uri": "x", "precision": "bfloat16"}}, ConfigError, r"student\.precision need a GPU"),
        ({"sharpen": {"sam": {"kind": "original", "device": "cuda"}}}, ConfigError, r"sharpen\.sam\.device need a GPU"),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(config, given, error, message):
    with pytest.raises(error, match=message):
        prepare(config(**given))


def test_label_maps_cannot_be_sharpened(config, semantic):
    with pytest.raises(ConfigError, match="finds label maps"):
        prepare(config(semantic, sharpen=SHARPER))
