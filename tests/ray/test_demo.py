"""The demo: each method's label jobs in their order and what its trainings learn from; the command from end to end."""

import json

import pytest

DEMO = """
import json, sys
from pathlib import Path
from segray.demo.methods import METHODS, Size
from segray.jobs.cluster import connected
from segray.jobs.demo import draw_world, label_world, train_config
from segray.jobs.train import prepare_rows

size = Size(train_images=10, sample=4, validation_images=2, steps=1, map_steps=1, tagger_steps=4)
world = draw_world(Path(sys.argv[1]), size, lambda _: None)
with connected():
    for method in ("sepl", "unimatch"):
        labeled, trainings = label_world(world, METHODS[method], lambda _: None, lambda _: None)
        rows = {name: prepare_rows(train_config(world, one)) for name, one in trainings.items()}
        print(json.dumps({
            "jobs": [one.name for one in labeled],
            "images": [one.summary.images + one.summary.known for one in labeled],
            "known": labeled[0].summary.known,
            "figures": [sorted(one.quality.figures())[-1] for one in labeled],
            "reports": [one.report.read_text().count("<figure class=\\"card") for one in labeled],
            "learned from": {name: len(found["labeled"].rows) for name, found in rows.items()},
            "classes": sorted({found["labeled"].rows.classes[0] for found in rows.values()}),
        }))
"""


@pytest.mark.slow
def test_label_jobs_of_each_method_leave_what_its_students_learn_from(python, tmp_path):
    done = python("-c", DEMO, tmp_path)
    assert done.returncode == 0, done.stderr
    sepl, unimatch = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert sepl == {
        "jobs": ["masks", "cam", "cam-to-vote", "vote"],
        "images": [10, 10, 10, 10],
        "known": 0,
        "figures": ["recall", "pixel_accuracy", "pixel_accuracy", "pixel_accuracy"],
        "reports": [10, 10, 10, 10],
        "learned from": {"Student of CAM": 10, "Student of CAM + SEPL": 10},
        "classes": ["background"],
    }
    assert (unimatch["jobs"], unimatch["images"], unimatch["known"]) == (["masks", "classes"], [10, 10], 10)
    assert unimatch["learned from"] == {"Supervised": 1, "UniMatch": 1, "UniMatch + zero-shot labels": 1}


COMMAND = """
from segray.cli import main
from segray.demo import methods

methods.QUICK = methods.Size(train_images=10, sample=4, validation_images=2, steps=1, map_steps=1, tagger_steps=4)
main(["demo", "--quick"])
"""


@pytest.mark.slow
def test_the_command_labels_trains_compares_and_serves(python, tmp_path):
    done = python("-c", COMMAND, "--out", tmp_path, address=None)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("against the first") :]
    page = (tmp_path / "reports" / "s4m-students.html").read_text()
    assert all(student in text for student in ("Supervised", "S4M") for text in (table, page))
    assert "/v1/segment" in table
    assert {one.name for one in tmp_path.glob("picture*")} == {"picture.png", "picture-labels.png"}
