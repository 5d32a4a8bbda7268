import json
import subprocess
import sys
from pathlib import Path

import pytest

from segray.testing import write_images

SCRIPT = Path(__file__).with_name("meters.py")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meters")
    write_images(folder / "images", 6)
    (folder / "images" / "broken.png").write_bytes(b"\x89PNG no")
    command = [sys.executable, str(SCRIPT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ray_segray_label_images_total", 7),
        ("ray_segray_label_refused_total{reason=not-an-image}", 1),
        ("ray_segray_train_loss{part=sum}", 1.5),
        ("ray_segray_train_loss{part=mask}", 1.0),
        ("ray_segray_train_score{metric=ap}", 0.25),
        ("ray_segray_train_step", 40),
    ],
)
def test_ray_exports_what_was_done(exported, name, value):
    assert exported[name] == value


@pytest.mark.parametrize(
    "name", ["ray_segray_label_masks_total", "ray_segray_label_actor_seconds_total", "ray_segray_train_step_seconds"]
)
def test_ray_exports_what_it_took(exported, name):
    assert exported[name] > 0


def test_only_losses_are_losses(exported):
    assert not [name for name in exported if "labels_kept" in name]
