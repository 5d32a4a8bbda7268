"""Annotations with absurd numbers end no process: each is read in one of its own, which tells what became of it."""

import json
import subprocess
import sys

CODE = """
import json, sys
from segray.errors import SourceError
from segray.formats.registry import READERS
from segray.tally import Tally
kind, uri, annotations = sys.argv[1:]
reader = READERS[kind]
for line in open(annotations):
    path = annotations + ".one"
    open(path, "w").write(line)
    try:
        source = reader.open(reader.settings(uri=uri, annotations=path))
        found = source.instances("a.png")
        print("masks", 0 if found is None else len(found))
    except SourceError as error:
        print("SourceError", str(error).splitlines()[0][:200])
"""


def outcomes(kind, folder, documents):
    path = folder / "annotations"
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    done = subprocess.run(
        [sys.executable, "-c", CODE, kind, str(folder), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def coco(segmentation, height=8, width=8):
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}],
    }


def square(side):
    return [[0, 0, side, 0, side, side, 0, side]]


COCO = [
    coco(square(4e8), height=400_000_000, width=1),
    coco([[0, 0, 1, 0, 1, 4e8]], height=400_000_000, width=1),
    coco(square(1e308)),
    coco(square(1e30)),
    coco([[1.0, 2.0] * 20_000]),
    coco([[x for index in range(20_000) for x in (1032.0 * (index % 2), 1.0 * (index % 7))]]),
    coco({"size": [8, 8], "counts": [2**63]}),
    coco({"size": [8, 8], "counts": [2**64, 1]}),
    coco({"size": [8, 8], "counts": [-1, 65]}),
    coco({"size": [8, 8], "counts": "\x7f" * 50}),
    coco({"size": [8, 8], "counts": "o" * 10_000}),
    coco({"size": [2**31, 2**31], "counts": [2**62]}, height=2**31, width=2**31),
    coco({"size": [70_000, 70_000], "counts": [4_900_000_000]}, height=70_000, width=70_000),
]


def test_coco(tmp_path):
    found = outcomes("coco", tmp_path, COCO)
    assert len(found) == len(COCO)
    assert {line.split()[0] for line in found} <= {"masks", "SourceError"}


def region(kind, value, width, height):
    return {
        "id": "r", "type": kind, "from_name": "label", "to_name": "image",
        "original_width": width, "original_height": height, "image_rotation": 0, "value": value,
    }  # fmt: skip


def task(*regions):
    return [{"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": list(regions)}]}]


LABELS = {"brushlabels": ["cat"], "polygonlabels": ["cat"], "ellipselabels": ["cat"], "rectanglelabels": ["cat"]}
LABEL_STUDIO = [
    task(region("ellipselabels", LABELS | {"x": 50, "y": 50, "radiusX": 1000, "radiusY": 1000}, 4_000_000, 1000)),
    task(region("ellipselabels", LABELS | {"x": 1e308, "y": 50, "radiusX": 1e308, "radiusY": 1}, 100, 100)),
    task(region("rectanglelabels", LABELS | {"x": 0, "y": 0, "width": 1e12, "height": 1e12}, 100, 100)),
    task(region("polygonlabels", LABELS | {"points": [[0, 0], [1e300, 0], [0, 1e300]]}, 100, 100)),
    task(region("brushlabels", LABELS | {"format": "rle", "rle": [255] * 2000}, 2**31, 2**31)),
    task(region("brushlabels", LABELS | {"format": "rle", "rle": [0, 0, 0, 1, 2, 3]}, 10, 10)),
]


def test_label_studio(tmp_path):
    found = outcomes("label-studio", tmp_path, LABEL_STUDIO)
    assert len(found) == len(LABEL_STUDIO)
    assert {line.split()[0] for line in found} <= {"masks", "SourceError"}
