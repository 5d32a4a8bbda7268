"""The served student: loaded and warm before it answers, changed for another, or kept where the other is no good."""

import gc
import json
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.config.serve import StudentServing
from segray.models.build import load_student
from segray.models.package import save_student
from segray.serving.student import RefusedError, ServedStudent
from segray.training.runs.catalog import promote

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def package(folder: Path, scale: float = 1.0, classes: tuple[str, ...] | None = None) -> str:
    """The shipped student, with all that its last layer says multiplied."""
    student = load_student(str(MASK2FORMER_NANO))
    student.classes = classes or student.classes
    with torch.no_grad():
        student.decoders.classifier.weight.mul_(scale)
    save_student(student, str(folder), info={"scale": str(scale)})
    return str(folder)


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("packages")
    made = {
        "first": package(folder / "first"),
        "second": package(folder / "second", 0.5),
        "other-classes": package(folder / "other-classes", classes=tuple("abcdefghijkl")),
        "not-a-number": package(folder / "not-a-number", float("nan")),
        "infinite": package(folder / "infinite", float("inf")),
        "torn": package(folder / "torn"),
        "absent": str(folder / "absent"),
    }
    weights = folder / "torn" / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return made


def settings(uri: str) -> StudentServing:
    return build(StudentServing, {"uri": uri, "batching": {"max_images": 2}}, "test")


def scores(served: ServedStudent) -> list[float]:
    return served.answer([IMAGE])[0][0].scores.tolist()


def test_it_says_who_it_is(packages):
    info = ServedStudent(settings(packages["first"])).info()
    card = json.loads((Path(packages["first"]) / "student.json").read_text())
    assert (info.kind, info.name, info.classes) == ("student", "mask2former", tuple(card["classes"]))
    assert info.weights_sha256 == card["weights_sha256"]
    assert info.training == {"scale": "1.0"}


def test_a_promoted_name_is_what_it_stands_for(packages, tmp_path):
    run = tmp_path / "runs" / "s4m-student-aa"
    shutil.copytree(packages["second"], run / "best")
    (run / "run.json").write_text(json.dumps({"name": run.name, "created": "2026-03-01"}))
    (run / "finished.json").write_text(json.dumps({"step": 1, "seconds": 1.0, "best": {"ap": 0.2}, "last": {}}))
    promote(str(run.parent), run.name, "street-v1")
    served = ServedStudent(settings(str(run.parent / "promoted" / "street-v1.json")))
    assert served.info().name == "street-v1"
    assert scores(served) == scores(ServedStudent(settings(packages["second"])))


def test_all_instances_are_given_whatever_their_score(packages):
    (found,), _ = ServedStudent(settings(packages["first"])).answer([IMAGE])
    assert len(found) > 0
    assert found.scores.min() < 0.3


def test_another_student_answers_after_a_swap_and_the_first_is_gone(packages):
    served = ServedStudent(settings(packages["first"]))
    before, old = scores(served), weakref.ref(served._loaded.student)
    gc.freeze()  # as Ray Serve does once a copy has started: what is frozen is never collected
    gc.disable()
    try:
        served.swap(packages["second"])
        assert old() is None
    finally:
        gc.enable()
        gc.unfreeze()
    assert scores(served) != before
    assert scores(served) == scores(ServedStudent(settings(packages["second"])))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("other-classes", "has the classes a, b, c"),
        ("not-a-number", "no number"),
        ("infinite", "no number"),
        ("torn", "cannot be loaded"),
        ("absent", "cannot be loaded"),
    ],
)
def test_a_bad_student_is_refused_and_the_one_before_goes_on(packages, bad, says):
    served = ServedStudent(settings(packages["first"]))
    before = scores(served)
    with pytest.raises(RefusedError, match=says) as refusal:
        served.swap(packages[bad])
    assert packages[bad] not in str(refusal.value)
    assert scores(served) == before


def test_every_answer_names_the_student_that_gave_it_while_they_change(packages):
    served = ServedStudent(settings(packages["first"]))
    expected = {}
    for name in ("first", "second"):
        one = ServedStudent(settings(packages[name]))
        expected[one.info().weights_sha256] = scores(one)
    with ThreadPoolExecutor(1) as pool:
        swaps = pool.submit(lambda: [served.swap(packages[name]) for name in ("second", "first", "second")])
        answers = [served.answer([IMAGE])]
        while not swaps.done():
            answers.append(served.answer([IMAGE]))
        swaps.result()
        answers.append(served.answer([IMAGE]))
    assert {model.weights_sha256 for _, model in answers} == set(expected)
    assert all(found[0].scores.tolist() == expected[model.weights_sha256] for found, model in answers)
