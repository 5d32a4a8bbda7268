"""`python -m jobs.label` and what follows it, in processes of their own, as a Ray Job and a shell run them."""

import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from segray.demo.coco import write_world
from segray.store import Store, catalog
from segray.store.rows import labeled_rows
from segray.testing import write_images

IMAGES = 6
CONFIG = """
job = "label"
stores = "{root}/stores"
[source]
kind = "folder"
uri = "{root}/world/images"
[sam]
kind = "original"
model = "nano"
[masks]
points_per_side = 6
pred_iou_thresh = 0.1
stability_score_thresh = 0.2
[workers]
num_workers = 1
images_per_batch = 2
images_per_part = 2
[cost]
per_gpu_hour = 3.6
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    write_world(root / "world", "b", IMAGES, seed=7)
    path = root / "label.toml"
    path.write_text(CONFIG.format(root=root))
    return path


def last_summary(store_uri):
    return json.loads(max((Path(store_uri) / "runs").iterdir()).read_text())


@pytest.fixture(scope="module")
def labeled(python, config):
    """The store after three of six images were labeled as a sample, then stopped by a budget, then completed."""
    sample = python("-m", "jobs.label", config, "sample=3", "seed=5")
    assert sample.returncode == 0, sample.stderr
    (info,) = catalog(str(config.parent / "stores"))
    summaries = [last_summary(info.uri)]
    budget = python("-m", "jobs.label", config, "cost.budget=1e-9")
    assert budget.returncode == 4, budget.stderr
    summaries.append(last_summary(info.uri))
    rest = python("-m", "jobs.label", config)
    assert rest.returncode == 0, rest.stderr
    summaries.append(last_summary(info.uri))
    return info.uri, summaries, rest.stdout


def test_a_sample_forecasts_what_remains(labeled):
    _, (sample, _, _), _ = labeled
    assert (sample["outcome"], sample["images"], sample["known"]) == ("sample", 3, 0)
    forecast = sample["forecast"]
    assert forecast["images"] == IMAGES - 3
    assert forecast["actor_hours"] == pytest.approx(sample["actor_s_per_image"] * 3 / 3600)
    assert forecast["cost"] == pytest.approx(forecast["actor_hours"] * 3.6)


def test_a_budget_stops_cleanly_and_nothing_is_computed_twice(labeled):
    uri, (_, budget, rest), _ = labeled
    assert budget["outcome"] == "budget"
    assert budget["known"] == 3
    assert rest["outcome"] == "complete"
    assert rest["known"] + rest["images"] == IMAGES
    rows = [row for batch in Store.open(uri).rows() for row in labeled_rows(batch)]
    assert len({row.image.image_id for row in rows}) == len(rows) == IMAGES
    assert sum(len(row.instances) for row in rows) > 10


def test_people_are_told(labeled):
    uri, _, told = labeled
    for word in ("outcome", "complete", "images/s", "per 1,000 images", uri):
        assert word in told


def test_the_same_command_again_does_nothing(python, config, labeled):
    uri, *_ = labeled
    again = python("-m", "jobs.label", config)
    assert again.returncode == 0
    assert last_summary(uri)["images"] == 0
    assert last_summary(uri)["known"] == IMAGES


@pytest.mark.usefixtures("labeled")
def test_other_thresholds_are_another_store(python, config):
    other = python("-m", "jobs.label", config, "masks.pred_iou_thresh=0.2", "sample=1")
    assert other.returncode == 0, other.stderr
    assert len(catalog(str(config.parent / "stores"))) == 2


def test_too_many_refused_images_show_in_the_exit_status(python, config, tmp_path):
    """Two of six: too many, but so few in all that a sample proves nothing."""
    images = tmp_path / "images"
    write_images(images, 4)
    for name, content in (("a.jpg", b""), ("b.jpg", b"no image")):
        (images / name).write_bytes(content)
    done = python("-m", "jobs.label", config, f"source.uri={images}", f"stores={tmp_path}/stores")
    assert done.returncode == 3, done.stderr
    assert "above max_damaged" in done.stderr
    assert "a.jpg: empty" in done.stderr
    assert "b.jpg: not-an-image" in done.stderr
    again = python("-m", "jobs.label", config, f"source.uri={images}", f"stores={tmp_path}/stores")
    assert again.returncode == 3
    assert "0, 33.3% of all in the store" in again.stdout
    assert "b.jpg: not-an-image" in again.stderr
    (info,) = catalog(f"{tmp_path}/stores")
    assert info.refused == {"empty": 1, "not-an-image": 1}


@pytest.mark.parametrize(
    ("overrides", "status", "message"),
    [
        (["masks.points_per_side=0"], 2, "masks.points_per_side"),
        (["source.uri=/nowhere"], 1, "/nowhere"),
        (["sam.model=vit_b", "sam.weights=/nowhere/vit_b.pth"], 1, "/nowhere/vit_b.pth"),
    ],
)
def test_what_cannot_work_is_said_before_a_cluster_is_asked(python, config, overrides, status, message):
    done = python("-m", "jobs.label", config, *overrides, address="192.0.2.1:1")
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_is_exported_and_reported(python, labeled, tmp_path):
    uri, *_ = labeled
    done = python("-m", "segray.cli", "export", uri, "--format", "coco", "--out", tmp_path / "masks.json", address="")
    assert done.returncode == 0, done.stderr
    coco = COCO(str(tmp_path / "masks.json"))
    assert len(coco.imgs) == IMAGES
    assert all(coco.annToMask(annotation).any() for annotation in coco.anns.values())
    fixed = json.loads((tmp_path / "masks.json").read_text())
    keep = fixed["images"][0]
    fixed["images"], fixed["annotations"] = [keep], []
    (tmp_path / "fixed.json").write_text(json.dumps(fixed))
    corrected = python(
        "-m", "segray.cli", "export", uri, "--format", "coco", "--out", tmp_path / "b.json",
        "--corrections", tmp_path / "fixed.json", address="",
    )  # fmt: skip
    assert corrected.returncode == 0, corrected.stderr
    assert COCO(str(tmp_path / "b.json")).getAnnIds(imgIds=[keep["id"]]) == []
    page = python("-m", "segray.cli", "report", uri, "--out", tmp_path / "report.html", address="")
    assert page.returncode == 0, page.stderr
    assert "://" not in (tmp_path / "report.html").read_text().replace("http://www.w3.org", "")
