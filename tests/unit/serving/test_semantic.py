"""A student of label maps behind the endpoint: every pixel has its class, whatever form the answer has."""

import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.config.serve import ServeConfig, StudentServing
from segray.config.students import Fpn
from segray.demo.world import scene
from segray.masks import rle
from segray.masks.semantic import paint
from segray.models.build import build_student, load_student
from segray.models.package import save_student
from segray.pages import overlay
from segray.serving.http.application import create_app
from segray.serving.local import LocalBackend
from segray.serving.student import RefusedError, ServedStudent

CLASSES = ("background", *map("class {}".format, range(11)))
PIXELS = scene("a", 3, size=96).image[:80]
FILE = io.BytesIO()
Image.fromarray(PIXELS).save(FILE, "PNG")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Among twelve classes it is never sure of any."""
    folder = tmp_path_factory.mktemp("student")
    save_student(build_student(Fpn(width=16), CLASSES, seed=1), str(folder), info={})
    return str(folder)


@pytest.fixture(scope="module")
def found(package):
    (found,) = load_student(package).predict([PIXELS])
    assert len(found) > 3
    assert 0 in found.classes
    assert found.scores.max() < 0.3
    return found


@pytest.fixture(scope="module")
def client(package):
    tables = {"job": "serve", "keys": {"kind": "off"}, "student": {"uri": package, "device": "cpu"}}
    config = build(ServeConfig, tables, "test")
    backend = LocalBackend(config)
    backend.load()
    return TestClient(create_app(backend, config), base_url="http://localhost")


def segment(client, query=""):
    answer = client.post(f"/v1/segment{query}", content=FILE.getvalue(), headers={"content-type": "image/png"})
    assert answer.status_code == 200, answer.text
    return answer


def test_it_says_that_it_is_one(client):
    (model,) = client.get("/v1/models").json()["models"]
    assert (model["task"], model["classes"]) == ("semantic", list(CLASSES))


def test_json_has_a_mask_per_class_best_first_and_all_pixels(client, found):
    (image,) = segment(client).json()["images"]
    instances = image["instances"]
    assert [one["segmentation"]["counts"].encode() for one in instances] == list(found.counts)
    assert [CLASSES[one] for one in found.classes] == [one["class"] for one in instances]
    scores = [one["score"] for one in instances]
    assert scores == sorted(scores, reverse=True)
    assert sum(one["area"] for one in instances) == 80 * 96


def test_polygons_cover_the_map_too(client, found):
    (image,) = segment(client, "?format=polygons").json()["images"]
    counts = [rle.from_coco(one["segmentation"], (80, 96)) for one in image["instances"]]
    overlaps = rle.iou(counts, list(found.counts), (80, 96)).diagonal()
    assert np.average(overlaps, weights=found.areas) > 0.9


def test_the_label_map_is_the_students(client, found):
    image = Image.open(io.BytesIO(segment(client, "?format=label").content))
    assert np.array_equal(np.asarray(image), paint(found))
    palette = np.array(image.getpalette()).reshape(-1, 3)
    assert palette[0].tolist() == [0, 0, 0]
    assert np.array_equal(palette[1 : len(CLASSES)], overlay.colours(len(CLASSES))[1:])


def test_classes_below_a_threshold_that_is_asked_for_are_unknown(client, found):
    threshold = float(found.scores[1])
    image = Image.open(io.BytesIO(segment(client, f"?format=label&score_threshold={threshold:.9f}").content))
    kept = found.filter(found.scores >= threshold)
    assert np.array_equal(np.asarray(image), paint(kept))
    assert 255 in np.asarray(image)


def test_the_overlay_leaves_the_background_as_it_is(client, found):
    drawn = np.asarray(Image.open(io.BytesIO(segment(client, "?format=overlay").content)))
    assert np.array_equal(drawn, overlay.draw(PIXELS, found.filter(found.classes > 0), by="class"))


def test_a_student_of_instances_does_not_take_its_place(package, tmp_path):
    instances = load_student(str(MASK2FORMER_NANO))
    instances.classes = CLASSES
    save_student(instances, str(tmp_path), info={})
    served = ServedStudent(build(StudentServing, {"uri": package}, "test"))
    with pytest.raises(RefusedError, match="task is instances, that of the one that serves is semantic"):
        served.swap(str(tmp_path))
    assert served.info().task == "semantic"
