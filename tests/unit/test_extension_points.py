"""What CONTRIBUTING.md says about extending segray works as it stands there, on a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

LABEL = """
import numpy as np
from segray.config.base import build
from segray.config.label import LabelConfig
from segray.labels.stages.segment import SegmentEverything
from segray.sam.build import describe
from segray.sam.mask_generation.generator import MaskGenerator
from segray.sam.build import build as build_sam

tables = {"job": "label", "source": {"kind": "folder", "uri": "photos"}, "stores": "out", "sam": {"kind": "brightness"}}
config = build(LabelConfig, tables, "label.toml")
stage = SegmentEverything(config=config, weights_hash=describe(config.sam).weights_hash)
assert stage.content["sam"] == {
    "kind": "brightness", "dtype": "float32", "tolerance": 16.0, "weights_hash": "0" * 64
}, stage.content
image = np.zeros((64, 64, 3), dtype=np.uint8)
image[16:48, 8:40] = 200
found = MaskGenerator(build_sam(config.sam), config.masks).generate([image])[0]
square = next(mask for mask in found.to_masks() if mask[32, 24])
assert (square == (image[..., 0] > 100)).mean() > 0.98
assert set(found.provenance) == {"sam:brightness"}
"""
TRAIN = """
from pathlib import Path
from segray.cli import main
from segray.models.build import load_student
from segray.testing import write_training

config = write_training(Path("work"), "supervised", steps=2, student="two-layers")
try:
    main(["train", str(config)])
except SystemExit as ended:
    assert not ended.code, ended.code
(card,) = Path("work/runs").rglob("last/student.json")
student = load_student(str(card.parent))
assert student.settings.kind == "two-layers"
assert type(student).__name__ == "TwoLayersStudent"
"""
FORMAT = """
import json
from pathlib import Path
import numpy as np
from PIL import Image
from segray.cli import main
from segray.formats.registry import READERS, open_source
from segray.masks.instances import Instances
from segray.store import Store
from segray.store.rows import ImageRow, LabeledRow

def segray(*arguments):
    try:
        main([*map(str, arguments)])
    except SystemExit as ended:
        assert not ended.code, ended.code

Path("photos").mkdir()
Image.new("RGB", (8, 6)).save("photos/a.png")
masks = np.zeros((2, 6, 8), dtype=bool)
masks[0, :3], masks[1, 4:, 5:] = True, True
store = Store.create("stores", "labels", {"classes": ["cat", "dog"]})
image = ImageRow(image_id="a.png", uri="photos/a.png", version="1")
found = Instances.from_masks(masks, provenance="sam:nano", classes=[1, 0])
store.write_part([LabeledRow(image=image, instances=found)])

segray("export", store.uri, "--format", "mask-lines", "--out", "masks.jsonl")
settings = READERS["mask-lines"].settings(uri="photos", lines="masks.jsonl")
assert (open_source(settings).instances("a.png").to_masks() == masks).all()

Path("evaluate.toml").write_text(
    f'job = "evaluate"\\nstore = {{ uri = "{store.uri}" }}\\nout = "out"\\n'
    'data = { kind = "mask-lines", uri = "photos", lines = "masks.jsonl" }\\n'
)
segray("check", "evaluate.toml")
segray("evaluate", "evaluate.toml")
figures = json.loads(Path("out/figures.json").read_text())
assert figures["ap"] == 1, figures
"""
METHOD = """
import json
from pathlib import Path
from segray.cli import main
from segray.cli.starters import starter_config
from segray.job_configs import load
from segray.testing import write_training

try:
    main(["train", str(write_training(Path("work"), "echo", steps=3))])
except SystemExit as ended:
    assert not ended.code, ended.code
(run,) = Path("work/runs").glob("echo-student-*")
figures = json.loads((run / "finished.json").read_text())["last"]
assert {"miou", "labels/miou"} <= figures.keys(), figures
assert "echo" in (run / "report.html").read_text()
Path("starter.toml").write_text(starter_config("train", "echo"))
assert load(Path("starter.toml")).method.kind == "echo"
"""
STAGE = """
from pathlib import Path
from segray.cli import main
from segray.cli.starters import starter_config
from segray.job_configs import load_label_job
from segray.jobs.stages import images_of, stage_of
from segray.testing import write_images

write_images(Path("photos"), 3)
path = Path("bright.toml")
path.write_text('job = "bright"\\nstores = "out"\\nsource = { kind = "folder", uri = "photos" }\\n')
try:
    main(["check", str(path)])
except SystemExit as ended:
    assert not ended.code, ended.code
config = load_label_job(path, ["threshold=100"])
rows = list(stage_of(config).build()(list(images_of(config)[1])))
assert len(rows) == 3
assert all(len(row.instances) == 1 for row in rows)
path.write_text(starter_config("bright"))
assert "threshold = " in path.read_text()
assert load_label_job(path).job == "bright"
"""


@pytest.fixture
def extended(tmp_path: Path) -> Callable[[str], int]:
    """Follow a section of CONTRIBUTING.md on a copy of the package; return the number of lines edited."""
    shutil.copytree(ROOT / "platform", tmp_path / "platform", ignore=shutil.ignore_patterns("__pycache__"))

    def follow(section: str) -> int:
        text = (ROOT / "CONTRIBUTING.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
        return sum(apply(tmp_path, kind, block) for kind, block in BLOCK.findall(text))

    return follow


def apply(root: Path, kind: str, block: str) -> int:
    """Write a new file, or insert the lines of a diff below its context; return the number of lines inserted."""
    head, body = block.split("\n", 1)
    path = root / head.removeprefix("# ").removeprefix("--- ")
    if kind == "python":
        assert not path.exists(), f"{path} is not new"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
        path.with_name("__init__.py").touch()
        return 0
    lines = body.splitlines()
    context = "".join(f"{line[1:]}\n" for line in lines if line.startswith(" "))
    inserted = [line[1:] for line in lines if line.startswith("+")]
    before = path.read_text()
    assert before.count(context) == 1, f"{path} does not hold exactly once:\n{context}"
    path.write_text(before.replace(context, context + "".join(f"{line}\n" for line in inserted)))
    return len(inserted)


@pytest.mark.parametrize(
    ("section", "script"),
    [
        ("Add a SAM backend", LABEL),
        ("Add a student", TRAIN),
        ("Add a format", FORMAT),
        ("Add a method", METHOD),
        ("Add a label stage", STAGE),
    ],
    ids=["sam", "student", "format", "method", "stage"],
)
def test_an_extension_is_new_files_and_one_line(
    section: str, script: str, extended: Callable[[str], int], tmp_path: Path
) -> None:
    assert extended(section) == 1
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "platform"), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
