"""The train job in this process: it goes on as if it had never stopped, and says early what cannot work."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from segray.errors import ConfigError, DamageError, SegrayError, StoreError, TrainError
from segray.evaluation.instances import InstanceEvaluator
from segray.evaluation.label_maps import LabelMapEvaluator
from segray.formats.registry import open_source
from segray.job_configs import load_as
from segray.jobs import train as job
from segray.jobs.train import train
from segray.masks.instances import Instances
from segray.methods.config import TrainConfig
from segray.models.build import build_student, load_student
from segray.models.package import read_card, save_student
from segray.storage import files
from segray.store import Store
from segray.store.rows import LabeledRow
from segray.testing import write_coco, write_training
from segray.training import checkpoint
from segray.training.loop import Loop
from segray.training.runs.catalog import ancestors, promote, show_run
from segray.training.runs.metrics import read_metrics
from segray.training.session import run_worker

RECIPES = {"supervised": ["student"], "s4m": ["teacher", "student"], "unimatch": ["labeler", "student"]}
CLASSES = dict.fromkeys(RECIPES, ("disc", "square")) | {"unimatch": ("background", "disc", "square")}
EVALUATE = ["intervals.evaluate_every=3"]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory) -> dict[str, tuple[Path, list[str]]]:
    """A config file of each method, and what is other than it says: UniMatch V2 has all of its parts."""
    files_of = {method: write_training(tmp_path_factory.mktemp(method), method) for method in RECIPES}
    return {method: (path, all_parts(path) if method == "unimatch" else []) for method, path in files_of.items()}


def all_parts(path: Path) -> list[str]:
    """A moving average, a weight that ramps up, and zero-shot labels that guide the model that labels."""
    unlabeled = open_source(load_as(TrainConfig, path, []).data.hidden)
    store = Store.create(str(path.parent / "stores"), "labels", {"classes": list(unlabeled.classes)})
    store.write_part([LabeledRow(image=row, instances=unlabeled.instances(row.image_id)) for row in unlabeled.rows()])
    return [
        "method.streams=v2",
        "method.ema_half_life=8.0",
        "method.ramp=0.75",
        f"method.zero_shot.store={store.uri}",
        "method.zero_shot.use=relabel",
    ]


@pytest.fixture
def config(worlds, tmp_path) -> Callable[..., TrainConfig]:
    """`config(method, *overrides)`, with runs of the test's own."""

    def load(method, *overrides):
        path, parts = worlds[method]
        return load_as(TrainConfig, path, [f"runs={tmp_path / 'runs'}", *parts, *overrides])

    return load


@pytest.fixture(scope="module")
def whole(worlds, tmp_path_factory) -> dict[str, list[Any]]:
    """Results of runs that nobody interrupted."""
    return {
        method: train(load_as(TrainConfig, path, [f"runs={tmp_path_factory.mktemp('runs')}", *parts, *EVALUATE]))
        for method, (path, parts) in worlds.items()
    }


class StoppedError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def stopped(monkeypatch) -> Callable[[TrainConfig, str, int], None]:
    """`stopped(config, run, step)` trains until the run has told of that step."""

    def stop(config: TrainConfig, run: str, step: int) -> None:
        def worker(one, group):
            steps = iter(range(1, step))

            def leaving():
                # Asked after each line of metrics, which is one per step.
                if one.plan.name == run and next(steps, None) is None:
                    raise StoppedError
                return False

            run_worker(one, replace(group, leaving=leaving))

        with monkeypatch.context() as patch:
            patch.setattr(job, "run_worker", worker)
            with pytest.raises(StoppedError):
                train(config)

    return stop


def told(uri: str) -> list[dict[str, Any]]:
    """A run's metrics without the time of day."""
    return [{name: value for name, value in line.items() if name != "time"} for line in read_metrics(uri)]


def weights(uri: str) -> dict[str, Any]:
    return load_file(Path(uri) / "student.safetensors")


def assert_same_run(one, other):
    assert told(one.folder.uri) == told(other.folder.uri)
    assert (one.name, one.folder.name) == (other.name, other.folder.name)
    assert {k: v for k, v in one.end.items() if k != "seconds"} == {
        k: v for k, v in other.end.items() if k != "seconds"
    }
    for which in ("best", "last"):
        ours, theirs = weights(one.folder.student(which)), weights(other.folder.student(which))
        assert ours.keys() == theirs.keys()
        assert all(bool((ours[name] == theirs[name]).all()) for name in ours)


@pytest.mark.parametrize(
    ("method", "run", "step"),
    [
        ("supervised", "student", 1),  # Before any checkpoint.
        ("supervised", "student", 2),  # After a checkpoint.
        ("supervised", "student", 3),  # With lines, and perhaps a best student, that are done again.
        ("supervised", "student", 4),  # After the last line.
        ("s4m", "teacher", 3),
        ("s4m", "student", 2),  # When the teacher is about to become the student.
        ("s4m", "student", 3),
        ("unimatch", "labeler", 3),  # With a moving average, a weight and a trust that are on their way.
        ("unimatch", "student", 3),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_end(config, whole, stopped, method, run, step):
    settings = config(method, *EVALUATE)
    stopped(settings, run, step)
    again = train(settings)
    assert not again[-1].was_finished
    for one, other in zip(again, whole[method], strict=True):
        assert_same_run(one, other)


def test_a_machine_about_to_go_leaves_a_checkpoint_of_its_own(config, whole, monkeypatch):
    asked = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(
            job, "run_worker", lambda one, group: run_worker(one, replace(group, leaving=lambda: next(asked)))
        )
        (warned,) = train(config("supervised", *EVALUATE, "intervals.checkpoint_every=4"))
    steps = {one.name for one in Path(warned.folder.uri, "checkpoints").iterdir()}
    assert steps == {"step-00000002", "step-00000004"}
    assert_same_run(warned, whole["supervised"][0])


def test_the_cluster_is_shown_the_lines_that_are_written(config, monkeypatch):
    shown = []

    def observe(kind, done, values):
        shown.append({"kind": kind, "step": done, **values})

    with monkeypatch.context() as patch:
        patch.setattr(job, "run_worker", lambda one, group: run_worker(one, replace(group, observe=observe)))
        (run,) = train(config("supervised", *EVALUATE))
    assert shown == told(run.folder.uri)


def test_what_was_trained_before_is_not_trained_again(config, stopped):
    settings = config("s4m")
    stopped(settings, "student", 3)
    assert [one.was_finished for one in train(settings)] == [True, False]
    assert [one.was_finished for one in train(settings)] == [True, True]


def test_fresh_starts_over(config, stopped, whole):
    settings = config("supervised", *EVALUATE)
    stopped(settings, "student", 3)
    over = train(settings, fresh=True)
    assert not over[0].was_finished
    assert_same_run(over[0], whole["supervised"][0])
    assert not train(settings, fresh=True)[0].was_finished


@pytest.mark.parametrize(
    ("override", "runs"),
    [
        ("seed=1", 2),
        ("view.flip=0.0", 2),
        ("student.num_queries=5", 2),
        ("method.student.schedule.steps=3", 1),
        ("method.student.unlabeled_weight=1.0", 1),
        ("method.student.refinement=none", 1),
        ("method.teacher.distillation=none", 2),
        ("student.predict.top_k=3", 0),
        ("data.validation=none", 0),
        ("data.hidden=none", 0),
        ("intervals.log_every=2", 0),
        ("method.teacher.schedule.accumulate=2", 0),
        ("intervals.evaluate_images=3", 0),
        ("workers.max_failures=3", 0),
        ("tracking.project=other", 0),
    ],
)
def test_what_decides_a_result_names_the_run(config, override, runs):
    """How many of the two runs are others, as their folders' names say."""

    def names(settings):
        return [one.folder.name for one in job._named(settings, job.plans(settings), job.prepare_rows(settings))]

    pairs = zip(names(config("s4m")), names(config("s4m", override)), strict=True)
    assert sum(one != other for one, other in pairs) == runs


def test_a_run_leaves_what_design_says(whole):
    for method, names in RECIPES.items():
        for name, result in zip(names, whole[method], strict=True):
            folder = Path(result.folder.uri)
            assert folder.name.startswith(f"{method}-{name}-")
            assert {one.name for one in folder.iterdir()} >= {
                *("run.json", "metrics.jsonl", "checkpoints", "best", "last", "finished.json", "report.html")
            }
            assert load_student(result.folder.student("last")).classes == CLASSES[method]
            data = json.loads((folder / "run.json").read_text())["data"]
            assert [data[role]["tally"]["images"]["used"] for role in ("labeled", "validation")] == [8, 4]
            assert [line["step"] for line in told(str(folder)) if line["kind"] == "train"] == [1, 2, 3, 4]
            assert [line["step"] for line in told(str(folder)) if line["kind"] == "evaluate"] == [3, 4]


@pytest.mark.parametrize("method", ["s4m", "unimatch"])
def test_a_student_is_known_to_build_on_the_run_before_it(whole, method):
    first, second = (one.folder for one in whole[method])
    assert [one.name for one in ancestors(first.runs, show_run(first.runs, second.name))] == [first.name]
    assert first.name in Path(second.uri, "report.html").read_text()


def test_pseudo_labels_are_measured_before_and_after_refinement(whole):
    figures = whole["s4m"][1].end["last"]
    assert figures["labels_before/true"] == figures["labels_after/true"] > 0
    assert figures["labels_after/labels"] > 0
    assert not any(name.startswith("labels_") for name in whole["s4m"][0].end["last"])


@pytest.mark.parametrize(
    ("method", "run", "networks"),
    [
        ("s4m", "teacher", {"student"}),
        ("s4m", "student", {"student", "teacher"}),
        ("unimatch", "labeler", {"student", "teacher"}),
        ("unimatch", "student", {"student"}),
    ],
)
def test_checkpoints_hold_student_and_teacher_and_nothing_that_stays(whole, method, run, networks):
    """No SAM, and no model of a run before."""
    (folder,) = (one.folder for one in whole[method] if one.name == run)
    found = list(Path(folder.uri, "checkpoints").rglob("*.safetensors"))
    assert {one.stem for one in found} == networks
    assert all(load_file(one).keys() == weights(folder.student("last")).keys() for one in found)


def test_a_labeler_is_guided_and_its_student_learns_all_that_it_says(whole):
    guided, relabeled = ([one for one in told(run.folder.uri) if one["kind"] == "train"] for run in whole["unimatch"])
    assert [one["trust"] for one in guided] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert all(one["loss/zero_shot/strong1"] > 0 and one["pixels_taught"] < 1 for one in guided)
    assert all("loss/zero_shot/strong1" not in one and one["pixels_taught"] == 1 for one in relabeled)
    for lines in (guided, relabeled):
        assert [one["loss/unlabeled/strong1"] > 0 for one in lines] == [False, True, True, True]
    pages = [Path(run.folder.uri, "report.html").read_text() for run in whole["unimatch"]]
    assert ["Zero shot loss by part" in page for page in pages] == [True, False]
    assert ["Teacher at the end" in page for page in pages] == [True, False]


def test_a_student_learns_what_the_labeler_says_at_its_end(config):
    settings = config("unimatch")
    (labeler,) = train(settings, until="labeler")
    squares = load_student(labeler.folder.student("last"))
    with torch.no_grad():
        squares.classifier.weight.zero_()
        squares.classifier.bias.copy_(torch.tensor([0.0, 0.0, 9.0]))
    save_student(squares, labeler.folder.student("last"), info={})
    figures = train(settings)[-1].end["last"]
    assert (figures["labels/iou/background"], figures["labels/coverage"]) == (0, 1)
    assert figures["labels/iou/square"] > 0


def test_best_of_label_maps_is_the_first_of_the_greatest_miou(config):
    (found,) = train(config("unimatch", "intervals.evaluate_every=1"), until="labeler")
    mious = {line["step"]: line["miou"] for line in told(found.folder.uri) if line["kind"] == "evaluate"}
    assert len(set(mious.values())) > 1
    best = max(mious, key=mious.__getitem__)
    assert (found.end["best"]["step"], found.end["best"]["miou"]) == (best, mious[best])
    assert read_card(found.folder.student("best"))["info"]["step"] == best


def test_a_damaged_checkpoint_is_passed_over(config, whole, stopped, caplog):
    settings = config("supervised", *EVALUATE)
    stopped(settings, "student", 4)
    older = next(Path(settings.runs).glob("supervised-*/checkpoints/*"))
    newer = older.with_name("step-00000003")
    shutil.copytree(older, newer)
    (newer / "state.json").write_text((older / "state.json").read_text().replace('"step": 2', '"step": 3'))
    (newer / "optimizer.pt").write_bytes(b"")
    (again,) = train(settings)
    assert "optimizer does not fit" in caplog.text
    assert_same_run(again, whole["supervised"][0])


def test_a_run_has_one_writer(config):
    settings = config("supervised")
    (first,) = train(settings)
    with first.folder.lease():
        assert train(settings)[0].was_finished
        with pytest.raises(StoreError, match="held by 'train'"):
            train(settings, fresh=True)
    assert first.folder.finished == first.end
    train(settings, fresh=True)
    assert not Path(first.folder.uri, "lease.json").exists()


def test_a_student_with_a_name_is_not_removed(config):
    settings = config("supervised")
    (first,) = train(settings)
    promote(settings.runs, first.folder.name, "cells", "last")
    with pytest.raises(TrainError, match="cells stands for a student"):
        train(settings, fresh=True)
    assert load_student(first.folder.student("last")).classes == ("disc", "square")


OTHER_MEASURES = {
    "other images": lambda folder: source("validation", write_coco(folder, 3, seed=9)),
    "another way to predict": lambda _: ["student.predict.top_k=2"],
}


@pytest.mark.parametrize("measure", OTHER_MEASURES)
def test_another_measurement_measures_anew_and_trains_nothing(config, tmp_path, monkeypatch, measure):
    (first,) = train(config("supervised", *EVALUATE))
    other = config("supervised", *EVALUATE, *OTHER_MEASURES[measure](tmp_path / "other"))
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "advance", lambda *_: pytest.fail("it trains"))
        (again,) = train(other)
    assert (again.folder, again.was_finished) == (first.folder, False)
    assert again.end["measured"] != first.end["measured"]
    (alone,) = train(replace(other, runs=str(tmp_path / "alone")))
    assert again.end["last"] == alone.end["last"]
    assert load_student(again.folder.student("last")).settings == other.student
    assert train(other)[0].was_finished
    shutil.rmtree(Path(again.folder.uri, "checkpoints"))
    with pytest.raises(TrainError, match="its last checkpoint is gone"):
        train(config("supervised", *EVALUATE))


def test_best_is_never_compared_over_two_measurements(config, stopped, tmp_path):
    settings = config("supervised", "intervals.evaluate_every=1")
    stopped(settings, "student", 2)
    state = next(Path(settings.runs).glob("supervised-*/checkpoints/*/state.json"))
    kept = json.loads(state.read_text())
    state.write_text(json.dumps(kept | {"best": kept["best"] | {"ap": 2.0}}))
    images = write_coco(tmp_path / "other", 3, seed=9)
    (again,) = train(replace(settings, data=replace(settings.data, validation=images)))
    assert checkpoint.find(again.folder.uri)[0].best["ap"] <= 1


@pytest.mark.parametrize(("ap", "step"), [(0.3, 4), (0.6, 1)])
def test_best_is_the_better_on_all_images(config, monkeypatch, ap, step):
    """Whatever one image says on the way; 0.5 is the last student's."""
    whole = iter([0.5, ap])
    result = InstanceEvaluator.result
    monkeypatch.setattr(
        InstanceEvaluator,
        "result",
        lambda self, shards: {**result(self, shards), "ap": 1.0 if len(shards[0].students[""]) == 1 else next(whole)},
    )
    (found,) = train(config("supervised", "intervals.evaluate_every=1", "intervals.evaluate_images=1"))
    assert (found.end["best"]["step"], found.end["best"]["ap"]) == (step, max(0.5, ap))
    best, last = (weights(found.folder.student(which)) for which in ("best", "last"))
    assert all(bool((best[name] == last[name]).all()) for name in best) == (step == 4)
    assert read_card(found.folder.student("best"))["info"]["step"] == step


@pytest.mark.parametrize(("miou", "step"), [(0.3, 4), (0.6, 1)])
def test_best_may_be_that_of_the_teacher(config, monkeypatch, miou, step):
    """Both networks of the step are kept; the teacher is promoted by default, and loads alone."""
    whole = iter([0.5, miou])
    result = LabelMapEvaluator.result

    def measured(self, shards):
        on_the_way = shards[0].students[""].result().num_images == 1
        return {**result(self, shards), "teacher_miou": 1.0 if on_the_way else next(whole)}

    monkeypatch.setattr(LabelMapEvaluator, "result", measured)
    overrides = ["evaluation.best_by=teacher", "method.zero_shot=none", "method.ema_half_life=2"]
    (found,) = train(config("unimatch", *overrides, "intervals.evaluate_every=1", "intervals.evaluate_images=1"))
    end, folder = found.end, found.folder
    assert (end["network"], end["metric"]) == ("teacher", "teacher_miou")
    assert (end["best"]["step"], end["best"]["teacher_miou"]) == (step, max(0.5, miou))
    for network in ("student", "teacher"):
        info = read_card(folder.student("best", network))["info"]
        assert (info["step"], info["network"]) == (step, network)
        best, last = (weights(folder.student(which, network)) for which in ("best", "last"))
        assert all(bool((best[name] == last[name]).all()) for name in best) == (step == 4)
    kept = {str(path): load_file(path) for path in sorted(Path(folder.uri).glob("checkpoints/*/teacher.safetensors"))}
    last = weights(folder.student("last", "teacher"))
    assert all(bool((last[name] == one).all()) for name, one in list(kept.values())[-1].items())
    teacher = load_student(folder.student("best", "teacher"))
    assert teacher.classes == CLASSES["unimatch"]
    assert promote(folder.runs, folder.name, "map").student == folder.student("best", "teacher")


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        ("supervised", ()),
        ("unimatch", ()),
        ("unimatch", ("method.zero_shot=none", "method.ema_half_life=0")),
        ("unimatch", ("method.zero_shot=none", "method.ema_half_life=none", "method.streams=v1")),
    ],
    ids=["supervised", "relabeled", "no average", "V1"],
)
def test_a_method_without_a_teacher_says_so(config, method, overrides):
    with pytest.raises(ConfigError, match="keeps no teacher with these settings") as caught:
        config(method, "evaluation.best_by=teacher", *overrides)
    assert any(one.startswith("evaluation.best_by: ") for one in caught.value.problems)


def test_an_evaluation_due_is_in_the_checkpoint_of_the_same_step(config, monkeypatch):
    asked = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(
            job, "run_worker", lambda one, group: run_worker(one, replace(group, leaving=lambda: next(asked)))
        )
        (warned,) = train(config("supervised", "intervals.evaluate_every=2", "intervals.checkpoint_every=4"))
    before = checkpoint.find(warned.folder.uri)[1]
    assert (before.step, before.best and before.best["step"]) == (2, 2)


def test_a_finished_run_needs_no_images_and_gets_its_report_back(config):
    settings = config("supervised")
    (first,) = train(settings)
    Path(first.folder.uri, "report.html").unlink()
    rows = {one.name: one.stat().st_mtime_ns for one in Path(settings.runs, "rows").iterdir()}
    images = Path(settings.data.labeled.uri)
    images.rename(images.with_name("away"))
    try:
        images.mkdir()
        for one in images.with_name("away").iterdir():
            shutil.copystat(one, touched(images / one.name, one.stat().st_size))
        assert train(settings)[0].was_finished
    finally:
        shutil.rmtree(images)
        images.with_name("away").rename(images)
    assert Path(first.folder.uri, "report.html").exists()
    assert {one.name: one.stat().st_mtime_ns for one in Path(settings.runs, "rows").iterdir()} == rows


def test_a_run_refines_from_the_masks_of_a_store(config, tmp_path):
    unlabeled = open_source(config("s4m").data.hidden)
    store = Store.create(str(tmp_path / "stores"), "masks", {})
    store.write_part([LabeledRow(image=row, instances=unlabeled.instances(row.image_id)) for row in unlabeled.rows()])
    refinement = f'{{kind="cached", store="{store.uri}", min_iou=0.01}}'
    settings = config("s4m", f"method.student.refinement={refinement}", *EVALUATE)
    end = train(settings)[-1].end
    assert end["last"]["labels_after/matched_iou"] != end["last"]["labels_before/matched_iou"]


def test_runs_may_lie_in_an_object_store(config, tmp_path):
    settings = config("supervised", *EVALUATE, f"runs=memory://{tmp_path}/runs")
    for fresh in (False, True):
        (found,) = train(settings, fresh=fresh)
        assert b"<html" in files.read_bytes(files.join(found.folder.uri, "report.html"))
        assert load_student(found.folder.student("best")).classes == ("disc", "square")


def touched(path: Path, size: int) -> Path:
    path.write_bytes(bytes(size))
    return path


# ------------------------------------------------------------------------------------- what is said before the start


def source(role: str, found: Any) -> list[str]:
    return [f"data.{role}.uri={found.uri}", f"data.{role}.annotations={found.annotations}"]


def without_masks(folder: Path) -> Any:
    found = write_coco(folder, 4)
    path = Path(found.annotations)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    return found


def without_last(whole: Any, number: int) -> Any:
    """The same images but for the last."""
    document = json.loads(Path(whole.annotations).read_text())
    document["images"] = sorted(document["images"], key=lambda one: one["file_name"])[:-number]
    left = {one["id"] for one in document["images"]}
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] in left]
    path = Path(whole.annotations).with_name("partly.json")
    path.write_text(json.dumps(document))
    return replace(whole, annotations=str(path))


def shrunk(folder: Path) -> Any:
    """An image that is not of the size its masks are for."""
    found = write_coco(folder, 4)
    path = Path(found.annotations)
    document = json.loads(path.read_text())
    for one in document["images"]:
        one["width"] = 32
    for one in document["annotations"]:
        one["segmentation"] = [[0, 0, 8, 0, 8, 8]]
    path.write_text(json.dumps(document))
    return found


def with_annotations(folder: Path, change: Callable[[dict[str, Any]], None], number: int | None = None) -> Any:
    """Four images; `change` is made to the first annotations, or to all."""
    found = write_coco(folder, 4)
    path = Path(found.annotations)
    document = json.loads(path.read_text())
    for annotation in document["annotations"][:number]:
        change(annotation)
    path.write_text(json.dumps(document))
    return found


MISTAKES = {
    "crowds only": (
        lambda folder: source("labeled", with_annotations(folder, lambda one: one.update(iscrowd="1"))),
        TrainError,
        'iscrowd 1 and are left out; `crowds = "masks"` takes them',
    ),
    "a broken mask": (
        lambda folder: source("labeled", with_annotations(folder, lambda one: one.update(segmentation=[[1, 2]]), 1)),
        DamageError,
        r"data\.labeled: 1 of \d annotations",
    ),
    "no labels": (
        lambda folder: source("labeled", without_masks(folder)),
        TrainError,
        "nothing to learn from: 4 images",
    ),
    "a class nobody learns": (
        lambda folder: source("validation", write_coco(folder, 4, classes=("disc", "star"))),
        TrainError,
        "'star'.*it knows 'disc', 'square'",
    ),
    "images of another size": (lambda folder: source("labeled", shrunk(folder)), DamageError, "its masks are for"),
    "no such file": (lambda folder: [f"data.labeled.annotations={folder}/no.json"], SegrayError, "no.json"),
    "no such sam": (
        lambda folder: ["method.sam.kind=original", f"method.sam.weights={folder}/no.pth"],
        SegrayError,
        "no.pth",
    ),
    "pieces that do not come out even": (
        lambda _: ["method.student.schedule.accumulate=3"],
        ConfigError,
        "labeled_batch: 4 images",
    ),
    "more workers than images": (
        lambda _: ["workers.num_workers=8"],
        ConfigError,
        "teacher.schedule.labeled_batch: 4 images",
    ),
    "groups cut by pieces": (
        lambda _: ["method.student.schedule.accumulate=2"],
        ConfigError,
        "unlabeled_batch: 4 images cannot be shared by 1 workers in 2 pieces, in groups of 4",
    ),
    "no unlabeled images": (lambda _: ["data.unlabeled=none"], ConfigError, "data.unlabeled"),
    "images that the store lacks": (
        lambda folder: [
            "method.student.refinement.kind=cached",
            f"method.student.refinement.store={half_a_store(folder)}",
        ],
        TrainError,
        "4 unlabeled images are not in",
    ),
}


def half_a_store(folder: Path) -> str:
    """Automatic masks of the first four images of eight."""
    store = Store.create(str(folder / "stores"), "masks", {})
    rows = list(open_source(write_coco(folder / "world", 8)).rows())[:4]
    found = Instances.from_masks(np.ones((1, 64, 64), dtype=bool), provenance="sam:test")
    store.write_part([LabeledRow(image=row, instances=found, seconds=0.0) for row in rows])
    return store.uri


def test_hidden_masks_of_labeled_images_do_not_count(config):
    labeled = config("s4m").data.labeled
    partly = without_last(labeled, 3)
    rows = job.prepare_rows(config("s4m", *source("labeled", partly), *source("hidden", labeled)))
    assert rows["hidden"].rows.image_ids == tuple(f"0000{number}.png" for number in (5, 6, 7))
    assert rows["hidden"].tally["images"].left_out["elsewhere"].number == 5
    with pytest.raises(TrainError, match=r"data\.hidden: nothing to learn from: 0 images"):
        train(config("s4m", *source("hidden", labeled)))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_work_is_said_before_anything_is_trained(config, tmp_path, mistake):
    make, kind, message = MISTAKES[mistake]
    with pytest.raises(kind, match=message):
        train(config("s4m", *make(tmp_path / "mistake")))
    assert not list((tmp_path / "runs").glob("s4m-*"))


def test_a_teacher_of_another_architecture_is_one_clear_error(config, stopped):
    settings = config("s4m")
    stopped(settings, "student", 1)
    teacher = next(Path(settings.runs).glob("s4m-teacher-*")) / "last"
    other = build_student(replace(settings.student, num_queries=5), ("disc", "square"), seed=0)
    save_student(other, str(teacher), info={})
    with pytest.raises(TrainError, match=f"{teacher}.*another architecture"):
        train(settings)


def test_a_checkpoint_of_another_architecture_is_one_clear_error(config, stopped):
    settings = config("supervised")
    stopped(settings, "student", 3)
    weights_file = next(Path(settings.runs).glob("*/checkpoints/*/student.safetensors"))
    other = build_student(replace(settings.student, num_queries=5), ("disc", "square"), seed=0)
    save_student(other, str(weights_file.parent), info={})
    with pytest.raises(TrainError, match="student does not fit"):
        train(settings)


def test_a_run_that_diverges_ends_with_what_to_do(config):
    settings = config("supervised", "method.schedule.learning_rate=1e30", "method.schedule.clip_norm=1e30")
    with pytest.raises(TrainError, match=r"not finite at step \d.*lower schedule\.learning_rate"):
        train(settings)
    folder = next(Path(settings.runs).glob("supervised-*"))
    assert not (folder / "finished.json").exists()
