"""A COCO file's own numbers, all the way: labeled from its boxes, exported, corrected, trained on, evaluated."""

import json
from pathlib import Path

from segray.config.base import build
from segray.config.evaluate import EvaluateConfig
from segray.job_configs import load_as
from segray.jobs.evaluate import PREDICTIONS, evaluate
from segray.jobs.label import find_store, label
from segray.jobs.outputs import export
from segray.jobs.train import train
from segray.labels.prompting.config import PromptConfig
from segray.masks import rle
from segray.methods.config import TrainConfig
from segray.testing import write_coco, write_training

CATEGORIES = {0: 90, 1: 18}


def renumbered(path: Path) -> dict:
    """Give a COCO file boxes, and numbers that nobody would count to; return its content."""
    document = json.loads(path.read_text())
    for image in document["images"]:
        image["id"] += 397_000
    for category in document["categories"]:
        category["id"] = CATEGORIES[category["id"]]
    for annotation in document["annotations"]:
        annotation["id"] = 900_100_000_000 + 7 * annotation["id"]
        annotation["image_id"] += 397_000
        annotation["category_id"] = CATEGORIES[annotation["category_id"]]
        x0, y0, x1, y1 = rle.boxes_xyxy([annotation["segmentation"]["counts"].encode()], (64, 64))[0].tolist()
        annotation["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    path.write_text(json.dumps(document))
    return document


def numbers(document: dict) -> tuple[object, ...]:
    """Its images by name, categories by name, and annotations with what they belong to."""
    return (
        {one["file_name"]: one["id"] for one in document["images"]},
        {one["name"]: one["id"] for one in document["categories"]},
        {one["id"]: (one["image_id"], one["category_id"]) for one in document["annotations"]},
    )


def test_numbers_stay_all_the_way(tmp_path):
    source = write_coco(tmp_path / "given", 6)
    given = renumbered(Path(source.annotations))
    table = {"kind": "coco", "uri": source.uri, "annotations": source.annotations}
    config = build(
        PromptConfig,
        {"job": "prompt", "stores": str(tmp_path / "stores"), "source": table, "workers": {"num_workers": 0}},
        "test",
    )
    label(config)
    store = find_store(config)
    export(store, "coco", tmp_path / "masks.json")
    masks = json.loads((tmp_path / "masks.json").read_text())
    assert numbers(masks) == numbers(given)

    # A person deletes an object of the first image; the second one had none to mend.
    gone = masks["annotations"].pop(0)
    listed = {image["id"] for image in masks["images"][:2]}
    fixed = masks | {
        key: [one for one in masks[key] if one[of] in listed]
        for key, of in (("images", "id"), ("annotations", "image_id"))
    }
    (tmp_path / "fixed.json").write_text(json.dumps(fixed))
    export(store, "coco", tmp_path / "corrected.json", corrections=[str(tmp_path / "fixed.json")])
    corrected = json.loads((tmp_path / "corrected.json").read_text())
    images, categories, annotations = numbers(given)
    del annotations[gone["id"]]
    assert numbers(corrected) == (images, categories, annotations)

    world = write_training(tmp_path / "world", "supervised", steps=2, student="fpn")
    mine = [f"data.labeled.uri={source.uri}", f"data.labeled.annotations={tmp_path / 'corrected.json'}"]
    (run,) = train(load_as(TrainConfig, world, mine))
    evaluate(
        build(
            EvaluateConfig,
            {
                "job": "evaluate",
                "out": str(tmp_path / "out"),
                "student": {"uri": f"{run.folder.uri}/last"},
                "data": table,
            },
            "test",
        )
    )
    predictions = json.loads((tmp_path / "out" / PREDICTIONS).read_text())
    assert {one["file_name"]: one["image_id"] for one in predictions} == images
    # What two steps teach is the background, which the file does not have: it counts on behind the file's own.
    assert {one["category"]: one["category_id"] for one in predictions}.items() <= {
        **categories,
        "background": 91,
    }.items()
