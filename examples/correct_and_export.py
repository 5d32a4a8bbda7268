"""Correct what a model labeled, and export both together: people's masks take precedence.

python examples/correct_and_export.py
"""

import argparse
import json
from pathlib import Path

import segray
from segray.demo.coco import write_world


def corrected(exported: Path, out: Path) -> str:
    """Stand in for a person in CVAT or Label Studio: keep the two best masks of the first image, name them "thing"."""
    document = json.loads(exported.read_text())
    first = document["images"][0]
    masks = [one for one in document["annotations"] if one["image_id"] == first["id"]]
    best = sorted(masks, key=lambda one: -one["score"])[:2]
    categories = [{"id": 1, "name": "thing"}]
    annotations = [{**one, "category_id": 1} for one in best]
    out.write_text(json.dumps({"images": [first], "annotations": annotations, "categories": categories}))
    return str(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/examples/correct"))
    parser.add_argument("--quick", action="store_true", help="two small scenes, few points")
    options = parser.parse_args()
    out: Path = options.out

    number, side = (2, 96) if options.quick else (6, 256)
    scenes = write_world(out / "scenes", "b", number, seed=50_000, size=side)
    store = segray.label(scenes, points_per_side=6 if options.quick else 32, stores=out / "stores")

    # Out to the tool where people correct: also "cvat", "label-studio", "yolo", "voc", "png".
    store.export("coco", out / "to-correct.json", overwrite=True)
    fixed = corrected(out / "to-correct.json", out / "fixed.json")

    # Back in: images that people worked on have their masks, all others the model's.
    before, after = store.info().masks, store.export("coco", out / "final.json", corrections=[fixed], overwrite=True)
    print(f"{before} masks before, {after.masks} after the corrections: {out / 'final.json'}")


if __name__ == "__main__":
    main()
