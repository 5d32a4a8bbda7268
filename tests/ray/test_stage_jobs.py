"""Label jobs of other kinds than SAM's, on a cluster: SEPL's vote over masks and its export, tags learned on a GPU, and
boxes to masks and a student's labels, on S3 with a kill in the middle.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from segray.assets import MASK2FORMER_NANO
from segray.formats.registry import open_source
from segray.job_configs import load_label_job
from segray.jobs.label import label
from segray.storage import files
from segray.store import Store, catalog
from segray.store.rows import LabeledRow
from segray.testing import write_coco, write_images

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


ROOT = Path(__file__).parents[2]
MANY = 8
JOBS = {
    "prompt": """
source = {{ kind = "table", uri = "{images}", table = "{table}" }}
""",
    "predict": """
source = {{ kind = "folder", uri = "{images}" }}
student = {{ uri = "{student}" }}
score_threshold = 0.0
""",
}
WORKERS = """
[workers]
num_workers = 1
images_per_batch = 1
images_per_part = 1
"""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """`bucket(path)`: a URI that says itself where its server is; images, their boxes and a student lie there."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="labels")

    def uri(path):
        return f"s3://labels/{path}?endpoint_override=http://{host}:{port}"

    lines = ["image,x0,y0,x1,y1"]
    for path in write_images(tmp_path_factory.mktemp("images"), MANY):
        files.write_bytes_atomic(uri(f"images/{path.name}"), path.read_bytes())
        lines += [f"{path.name},4,4,40,50", f"{path.name},20,10,60,60"]
    files.write_bytes_atomic(uri("boxes.csv"), "\n".join(lines).encode())
    for name in ("student.json", "student.safetensors"):
        files.write_bytes_atomic(uri(f"student/{name}"), files.read_bytes(files.join(str(MASK2FORMER_NANO), name)))
    yield uri
    server.stop()


def masks_of(stores):
    """The masks of each image in the only store of a folder, and a failure where one is there twice."""
    (info,) = catalog(stores)
    rows = list(Store.open(info.uri))
    assert len({row.image_id for row in rows}) == len(rows)
    return {row.image_id: sorted(row.instances.counts) for row in rows if row.error is None}


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_a_job_that_was_killed_is_completed_by_the_same_command(job, bucket, python, ray_address, tmp_path):
    path, stores = tmp_path / "job.toml", bucket(f"{job}/stores")
    given = {"images": bucket("images"), "table": bucket("boxes.csv"), "student": bucket("student")}
    path.write_text(f'job = "{job}"\nstores = "{stores}"\n' + JOBS[job].format(**given) + WORKERS)
    command = ["-m", "segray.cli", "label", str(path)]
    environment = os.environ | {"RAY_ADDRESS": ray_address, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while killed.poll() is None and not any(info.images for info in catalog(stores)):
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert catalog(stores)[0].images > 0
    done = python(*command)
    assert done.returncode == 0, done.stderr
    label(load_label_job(path, ["workers.num_workers=0", f"stores={tmp_path}/stores"]))
    found = masks_of(stores)
    assert len(found) == MANY
    assert found == masks_of(f"{tmp_path}/stores")
