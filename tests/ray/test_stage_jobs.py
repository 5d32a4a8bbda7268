"""Label jobs of other kinds than SAM's, on a cluster: SEPL's vote over masks and its export, tags learned on a GPU."""

import json

import numpy as np
import pytest
from PIL import Image

from segray.formats.registry import open_source
from segray.store import Store, catalog
from segray.store.rows import LabeledRow
from segray.testing import write_coco

IMAGES = 6
CONFIG = """
job = "vote"
masks = "{masks}"
stores = "{root}/stores"
[maps]
kind = "folder"
uri = "{root}/maps"
classes = ["background", "disc", "square"]
[workers]
num_workers = 1
images_per_part = 2
"""


@pytest.fixture
def config(tmp_path):
    source = open_source(write_coco(tmp_path, IMAGES))
    (tmp_path / "maps").mkdir()
    rows = []
    for image in source.rows():
        found = source.instances(image.image_id)
        rows.append(LabeledRow(image=image, instances=found))
        labels = np.zeros(found.size_hw, np.uint8)
        for mask, name in zip(found.to_masks(), found.classes, strict=True):
            labels[mask] = name + 1
        labels[::3] = 0
        Image.fromarray(labels).save(tmp_path / "maps" / image.image_id)
    masks = Store.create(str(tmp_path / "masks"), "masks", {})
    masks.write_part(rows)
    path = tmp_path / "vote.toml"
    path.write_text(CONFIG.format(root=tmp_path, masks=masks.uri))
    return path


@pytest.mark.slow
def test_a_vote_job_leaves_a_store_that_exports_with_its_class_names(python, config, tmp_path):
    done = python("-m", "segray.cli", "label", config)
    assert done.returncode == 0, done.stderr
    (info,) = catalog(str(tmp_path / "stores"))
    assert (info.stage, info.images) == ("vote", IMAGES)
    exported = python("-m", "segray.cli", "export", config, "--format", "coco", "--out", tmp_path / "voted.json")
    assert exported.returncode == 0, exported.stderr
    document = json.loads((tmp_path / "voted.json").read_text())
    assert [one["name"] for one in document["categories"]] == ["background", "disc", "square"]
    assert {one["provenance"] for one in document["annotations"]} == {"vote"}


TAUGHT = """
import sys, time
import ray
from segray.config.base import build
from segray.methods.sepl.config import CamConfig
from segray.evidence import tagger
from segray.jobs.stages import stage_of

ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False)
tagger.train = None  # This process cannot: only a task's can.
source = {"kind": "coco", "uri": f"{sys.argv[1]}/images", "annotations": f"{sys.argv[1]}/instances.json"}
tables = {
    "job": "cam",
    "source": source,
    "tags": {"kind": "coco", "coco": source},
    "tagger": {"side": 32, "steps": 1, "batch": 2},
    "taggers": f"{sys.argv[1]}/taggers",
    "stores": f"{sys.argv[1]}/stores",
    "workers": {"gpus": 1},
}
print(stage_of(build(CamConfig, tables, "test")).weights)
while ray.available_resources().get("GPU", 0) < 1:
    time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_classifier_of_tags_is_trained_by_a_task_that_gives_its_gpu_back(python, tmp_path):
    write_coco(tmp_path, 4)
    done = python("-c", TAUGHT, tmp_path, address=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1].startswith(str(tmp_path / "taggers"))
    assert len(list((tmp_path / "taggers").glob("*.safetensors"))) == 1
