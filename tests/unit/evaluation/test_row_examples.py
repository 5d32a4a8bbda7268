"""Training rows as images to be measured on, and what evaluating a folder loads."""

import subprocess
import sys

import pytest

from segray.datasets.training_rows import TrainingRows
from segray.evaluation.row_examples import RowExamples
from segray.formats.registry import open_source
from segray.testing import write_coco


def test_an_example_has_the_pixels_and_all_true_masks(tmp_path):
    source = open_source(write_coco(tmp_path / "world", 4, side=48))
    examples = RowExamples(TrainingRows.build(source, tmp_path / "rows.arrow", crowds=True))
    assert len(examples) == 4
    found = [examples[index] for index in range(4)]
    assert [len(one.true) for one in found] == [0, 1, 2, 3]
    assert {one.pixels.shape for one in found} == {(48, 48, 3)}
    assert [one.image_id for one in found] == [row.image_id for row in source.rows()]


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            "segray.evaluation.row_examples, segray.evaluation.students",
            "segray.methods segray.sam transformers torch ray",
        ),
        ("segray.evaluation.stores", "segray.methods segray.sam segray.models transformers torch ray"),
        ("segray.jobs.evaluate", "segray.methods segray.sam segray.training ray"),
    ],
)
def test_evaluating_loads_no_method_and_no_sam(modules, absent):
    code = f"import sys, {modules}; print(*(set({absent.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
