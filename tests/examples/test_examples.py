"""Every example runs, small, as a reader would start it; the notebook too, from its cells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SAID = {
    "label_a_folder": "2 images",
    "correct_and_export": "after the corrections",
    "train_s4m": "AP of the best student",
    "serve_and_call": "objects in",
}


def run(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1", "SEGRAY_QUICK": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SAID, "build_tour"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_an_example_runs(name, tmp_path):
    assert SAID[name] in run(tmp_path, str(EXAMPLES / f"{name}.py"), "--quick")


@pytest.mark.slow
def test_the_notebook_runs_and_is_the_one_that_its_script_builds(tmp_path):
    run(tmp_path, str(EXAMPLES / "build_tour.py"), str(tmp_path / "tour.ipynb"))
    fresh, kept = (json.loads(path.read_text()) for path in (tmp_path / "tour.ipynb", EXAMPLES / "tour.ipynb"))
    assert [cell["source"] for cell in fresh["cells"]] == [cell["source"] for cell in kept["cells"]]


def test_the_notebook_has_pictures_and_is_small():
    path = EXAMPLES / "tour.ipynb"
    outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", ())]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 4
    assert path.stat().st_size < 300_000
