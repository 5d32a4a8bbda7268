import asyncio
import dataclasses
import hashlib
import io
import json
from functools import partial

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.config.serve import ServeConfig
from segray.demo.world import scene
from segray.masks import rle
from segray.models.build import load_student
from segray.serving.backend import BusyError, ImageClicks, UnreadyError
from segray.serving.http.application import create_app
from segray.serving.local import LocalBackend, serving_locally

PIXELS = scene("a", 3).image
FILE = io.BytesIO()
Image.fromarray(PIXELS).save(FILE, "PNG")
SHA = hashlib.sha256(FILE.getvalue()).hexdigest()
CLICKS = ImageClicks(points_xy=((120.0, 90.0),), labels=(1,))


def serve_config(**changes):
    sam = {"sam": {"kind": "original", "model": "nano", "device": "cpu"}}
    student = {"uri": str(MASK2FORMER_NANO), "device": "cpu"}
    tables = {"job": "serve", "keys": {"kind": "off"}, "student": student, "clicks": sam}
    return build(ServeConfig, tables | changes, "test")


@pytest.fixture(scope="module")
def config():
    return serve_config(limits={"max_queued": 2, "max_images": 2})


@pytest.fixture(scope="module")
def backend(config):
    backend = LocalBackend(config)
    backend.load()
    return backend


@pytest.fixture(scope="module")
def student():
    return load_student(str(MASK2FORMER_NANO))


def test_before_the_models_are_loaded_nothing_answers(config):
    backend = LocalBackend(config)
    calls = [backend.models, partial(backend.segment, [PIXELS]), partial(backend.masks, PIXELS, SHA, CLICKS)]
    for call in calls:
        with pytest.raises(UnreadyError):
            asyncio.run(call())


def test_over_http_it_answers_what_the_student_says(backend, config, student):
    (expected,) = student.predict([PIXELS])
    expected = expected.filter(expected.scores >= 0.3)
    assert len(expected) > 0
    client = TestClient(create_app(backend, config), base_url="http://localhost")
    answer = client.post("/v1/segment", content=FILE.getvalue(), headers={"content-type": "image/png"}).json()
    (image,) = answer["images"]
    assert (image["sha256"], image["height"], image["width"]) == (SHA, 256, 256)
    assert [one["class"] for one in image["instances"]] == [student.classes[one] for one in expected.classes]
    assert np.allclose([one["score"] for one in image["instances"]], expected.scores, atol=1e-5)
    counts = [one["segmentation"]["counts"].encode() for one in image["instances"]]
    assert rle.iou(counts, list(expected.counts), (256, 256)).diagonal().tolist() == [1.0] * len(expected)
    assert (
        answer["model"]["weights_sha256"]
        == json.loads((MASK2FORMER_NANO / "student.json").read_text())["weights_sha256"]
    )


def test_clicks_over_http_give_masks(backend, config):
    clicks = json.dumps({"points": [[120, 90]]})
    client = TestClient(create_app(backend, config), base_url="http://localhost")
    headers = {"content-type": "image/png"}
    answer = client.post("/v1/masks", content=FILE.getvalue(), headers=headers, params={"clicks": clicks}).json()
    expected, _ = asyncio.run(backend.masks(PIXELS, SHA, CLICKS))
    assert [one["segmentation"]["counts"].encode() for one in answer["masks"]] == list(expected.counts)
    assert answer["model"]["name"] == "nano"


def test_the_student_is_the_first_of_the_models(backend):
    assert [one.kind for one in asyncio.run(backend.models())] == ["student", "sam"]


def test_without_a_model_for_clicks_there_are_no_masks():
    with pytest.raises(LookupError):
        asyncio.run(LocalBackend(serve_config(clicks=None)).masks(PIXELS, SHA, CLICKS))


def test_a_full_queue_is_busy_and_empties(backend):
    async def three_at_once():
        return await asyncio.gather(*(backend.segment([PIXELS]) for _ in range(3)), return_exceptions=True)

    *answered, busy = asyncio.run(three_at_once())
    assert [len(found) for found, _ in answered] == [1, 1]
    assert isinstance(busy, BusyError)
    found, _ = asyncio.run(backend.segment([PIXELS, PIXELS]))
    assert len(found) == 2


def test_without_ray_the_endpoint_answers_over_http_and_ends(config):
    with serving_locally(dataclasses.replace(config, clicks=None, port=0)) as address:
        answer = httpx.post(f"{address}/v1/segment", content=FILE.getvalue(), headers={"content-type": "image/png"})
        assert answer.json()["images"][0]["sha256"] == SHA
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/healthz")
