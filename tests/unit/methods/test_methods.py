"""What every method of the table keeps to."""

import subprocess
import sys

import pytest

from segray.config.schedule import BatchSizes
from segray.job_configs import load_as
from segray.methods import METHODS, Method, plans, settings_class
from segray.methods.config import TrainConfig
from segray.testing import write_training


@pytest.mark.parametrize("name", METHODS)
def test_a_line_of_the_table_names_a_folder_and_a_class(name):
    found = settings_class(name)
    assert issubclass(found, Method)
    assert found.kind == name
    assert found.trains


@pytest.mark.parametrize("name", METHODS)
def test_runs_are_named_by_the_method_and_build_on_earlier_ones(tmp_path, name):
    config = load_as(TrainConfig, write_training(tmp_path, name))
    runs = plans(config)
    assert {run.method for run in runs} == {name}
    assert all(isinstance(one, BatchSizes) for one in config.method.batches())
    for index, run in enumerate(runs):
        assert {*run.parents} <= {earlier.name for earlier in runs[:index]}


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_learns_from_unlabeled_images_says_what_they_are_taught(tiny, name):
    for run in plans(tiny(name, "student").config):
        made = tiny(name, run.name)
        assert made.objective().labels_images == run.unlabeled


def test_the_table_imports_no_torch():
    code = "import sys, segray.methods.config; print(*{'torch', 'ray'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []
