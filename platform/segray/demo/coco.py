"""Writes a procedural world as ordinary COCO files, which everything else treats as a user's data.

Knows scenes and COCO's JSON. Does not know who reads it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segray.demo.shapes import Family
from segray.demo.world import FAMILY_CLASSES, Scene, scene
from segray.masks.rle import areas, boxes_xyxy, encode

JPEG_QUALITY = 95


def write_world(folder: Path, family: Family, num_images: int, seed: int = 0, size: int = 256) -> Path:
    """Write `num_images` scenes of seeds `seed`, `seed + 1`, ... to folder/images and return folder/instances.json.

    Annotations are exact visible masks as compressed RLE with iscrowd 0; `attributes` holds colour, texture and size
    words.
    """
    images_folder = folder / "images"
    images_folder.mkdir(parents=True, exist_ok=True)
    category_ids = {name: number for number, name in enumerate(FAMILY_CLASSES[family], start=1)}
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(num_images):
        found = scene(family, seed + number, size)
        file_name = f"{family}-{seed + number:07d}.jpg"
        _save(found.image, images_folder / file_name)
        images.append({"id": number + 1, "file_name": file_name, "width": size, "height": size})
        annotations.extend(_annotations(found, number + 1, len(annotations) + 1, category_ids))
    path = folder / "instances.json"
    categories = [{"id": number, "name": name} for name, number in category_ids.items()]
    document = {
        "info": {"description": f"procedural world, family {family}, seed {seed}"},
        "images": images, "annotations": annotations, "categories": categories,
    }  # fmt: skip
    path.write_text(json.dumps(document))
    return path


def renamed(path: Path, name: Callable[[str, Mapping[str, str]], str]) -> Path:
    """A copy of a world's annotations beside it, with other categories: `name` of class and attributes."""
    document = json.loads(path.read_text())
    classes = {one["id"]: one["name"] for one in document["categories"]}
    names = [name(classes[one["category_id"]], one["attributes"]) for one in document["annotations"]]
    ids = {known: number for number, known in enumerate(sorted(set(names)), start=1)}
    for annotation, known in zip(document["annotations"], names, strict=True):
        annotation["category_id"] = ids[known]
    document["categories"] = [{"id": number, "name": known} for known, number in ids.items()]
    copy = path.with_name("renamed.json")
    copy.write_text(json.dumps(document))
    return copy


def _save(image: NDArray[np.uint8], path: Path) -> None:
    """Write a JPEG, unless the same one is there: a file that is not touched is not labeled again."""
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "jpeg", quality=JPEG_QUALITY)
    if not path.is_file() or path.read_bytes() != encoded.getvalue():
        path.write_bytes(encoded.getvalue())


def _annotations(
    found: Scene, image_id: int, first_id: int, category_ids: dict[str, int]
) -> Iterable[dict[str, object]]:
    size_hw = (found.image.shape[0], found.image.shape[1])
    counts = encode(np.stack([item.mask for item in found.objects])) if found.objects else []
    boxes, sizes = boxes_xyxy(counts, size_hw), areas(counts, size_hw)
    for offset, item in enumerate(found.objects):
        x0, y0, x1, y1 = (float(side) for side in boxes[offset])
        yield {
            "id": first_id + offset,
            "image_id": image_id,
            "category_id": category_ids[item.class_name],
            "segmentation": {"size": list(size_hw), "counts": counts[offset].decode("ascii")},
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": int(sizes[offset]),
            "iscrowd": 0,
            "attributes": item.attributes,
        }
