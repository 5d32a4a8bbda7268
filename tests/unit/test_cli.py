import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BAD = """
job = "label"
[source]
kind = "coco"
uri = "images"
[masks]
points_per_side = 0
mode = "slow"
[colours]
red = 1
"""


def segray(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "segray.cli", *map(str, arguments)],
        env={"PYTHONPATH": str(ROOT / "platform"), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_lists_every_mistake(tmp_path):
    (tmp_path / "bad.toml").write_text(BAD)
    done = segray("check", tmp_path / "bad.toml")
    assert done.returncode == 2
    assert "5 problems" in done.stderr
    for path in ("source.annotations", "stores", "masks.points_per_side", "masks.mode", "colours"):
        assert f"  {path}: " in done.stderr


def test_check_says_what_a_good_config_is():
    done = segray("check", ROOT / "configs" / "tiny" / "label.toml", "masks.points_per_side=8")
    assert done.returncode == 0
    assert "a label job" in done.stdout


def test_check_needs_neither_torch_nor_ray():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['ray'] = None;"
        f"sys.argv = ['segray', 'check', {str(ROOT / 'configs' / 'tiny' / 'label.toml')!r}];"
        "from segray.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "platform")}, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["check", "nowhere.toml"], 2, "nowhere.toml: cannot be read"),
        (["dance"], 2, "dance"),
        (["check"], 2, "config"),
        (["export", "nowhere", "--format", "coco", "--out", "x"], 1, "nowhere"),
        (["report", "nowhere"], 1, "nowhere"),
        (["store", "compact", "nowhere"], 1, "nowhere"),
        (["store", "rm", "nowhere", "--yes"], 1, "nowhere"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(arguments, status, message):
    done = segray(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
