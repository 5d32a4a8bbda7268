"""The root conftest's rule about skips, by runs of pytest of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SKIPS = {
    "marked": "@pytest.mark.skipif(True, reason={reason!r})\ndef test_it(): pass\n",
    "called": "def test_it(): pytest.skip({reason!r})\n",
    "module": "pytest.skip({reason!r}, allow_module_level=True)\n",
    "fixture": "@pytest.fixture\ndef needed(): pytest.skip({reason!r})\ndef test_it(needed): pass\n",
}
"""Every place where a test can be skipped."""


@pytest.mark.parametrize(
    ("reason", "ci", "options", "forbidden"),
    [
        ("no chromium here", "true", (), True),
        ("no chromium here", "true", ("--numprocesses", "1"), True),
        ("no chromium here", "", (), False),
        ("needs CUDA", "true", (), False),
        ("root may write everywhere", "true", (), False),
    ],
)
def test_under_ci_only_cuda_and_root_are_reasons_to_skip(tmp_path, reason, ci, options, forbidden):
    shutil.copy(CONFTEST, tmp_path)
    for name, source in SKIPS.items():
        (tmp_path / f"test_{name}.py").write_text("import pytest\n" + source.format(reason=reason))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
        *options,
        str(tmp_path),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False
    )
    named = {name for name in SKIPS if f"test_{name}.py" in done.stdout and "skipped under CI" in done.stdout}
    assert named == (set(SKIPS) if forbidden else set()), done.stdout
    assert (done.returncode != 0) == forbidden
