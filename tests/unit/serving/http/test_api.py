import asyncio
import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from segray.masks import rle
from segray.masks.instances import Instances
from segray.pages import overlay
from segray.serving.backend import BusyError, ModelInfo, UnreadyError
from segray.serving.http import answers
from segray.serving.http.problems import Problem
from segray.serving.http.schemas import SegmentAnswer
from segray.serving.testing import COLOURS, PaintedBackend, find, scene

FILE = io.BytesIO()
scene().save(FILE, "PNG")
IMAGE = FILE.getvalue()
PNG = {"content-type": "image/png"}
PIXELS = np.asarray(scene())


def segment(client, path="", accept="*/*", **body):
    body = body or {"content": IMAGE}
    kind = {} if "files" in body else PNG
    return client.post(f"/v1/segment{path}", headers=kind | {"accept": accept}, **body)


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_json_tells_what_was_found_by_whom_on_what(client, form):
    answer = SegmentAnswer.model_validate_json(segment(client, f"?score_threshold=0&format={form}").text)
    assert (answer.model.name, answer.classes) == ("painted", ["red", "green", "blue"])
    (image,) = answer.images
    assert [(one.class_, one.class_id, one.score) for one in image.instances] == [
        ("red", 0, 0.9),
        ("green", 1, 0.6),
        ("blue", 2, 0.25),
    ]


def test_run_lengths_are_what_the_backend_found(client):
    (image,) = segment(client).json()["images"]
    counts = [one["segmentation"]["counts"].encode() for one in image["instances"]]
    assert rle.iou(counts, list(find(PIXELS).counts[:2]), (48, 64)).diagonal().tolist() == [1, 1]


@pytest.mark.parametrize(("path", "accept"), [("?format=label", "*/*"), ("", "image/png")])
def test_a_label_map_comes_as_png(client, path, accept):
    answer = segment(client, path, accept)
    assert answer.headers["content-type"] == "image/png"
    expected = answers.label_map(answers.chosen(find(PIXELS), 0.3, 100), tuple(COLOURS))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), expected)


def test_an_overlay_comes_as_png(client):
    answer = segment(client, "?format=overlay&score_threshold=0", "image/*")
    assert answer.headers["content-type"] == "image/png"
    drawn = overlay.draw(PIXELS, find(PIXELS), by="class")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), drawn)


@pytest.mark.parametrize(
    ("path", "accept", "files", "status", "reason"),
    [
        ("?format=label", "application/json", 1, 406, "not-acceptable"),
        ("", "text/html", 1, 406, "not-acceptable"),
        ("?format=overlay", "*/*", 2, 422, "one-image"),
        ("", "image/png", 2, 422, "one-image"),
    ],
)
def test_what_cannot_be_answered_so_is_refused(client, path, accept, files, status, reason):
    answer = segment(client, path, accept, files=[("images", ("a.png", IMAGE))] * files)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [(BusyError(1.5), 429, "2"), (UnreadyError("gone"), 503, "5"), (RuntimeError("/srv/x"), 500, None)],
)
@pytest.mark.parametrize("path", ["/v1/segment", '/v1/masks?clicks={"points":[[1,1]]}'])
def test_what_the_backend_cannot_do_is_said(connect, path, error, status, retry):
    client = connect(PaintedBackend(error), raise_server_exceptions=False)
    answer = client.post(path, content=IMAGE, headers=PNG)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry)
    assert Problem.model_validate_json(answer.text).status == status
    assert "/srv" not in answer.text


@dataclass
class Many(PaintedBackend):
    """A mask per row of the image, each of a class of its own; scores fall from 0.5 to 0.01."""

    task: str = "instances"

    async def segment(self, images):
        masks = np.eye(120, dtype=bool)[:, :, None].repeat(2, axis=2)
        scores = np.linspace(0.5, 0.01, 120)
        found = Instances.from_masks(masks, provenance="student", scores=scores, classes=np.arange(120))
        classes = tuple(map(str, range(120)))
        model = ModelInfo(kind="student", name="many", weights_sha256="", classes=classes, task=self.task)
        return [found] * len(images), model


@pytest.mark.parametrize(
    ("task", "query", "most", "number"),
    [
        ("instances", "", 400, 49),
        ("instances", "?score_threshold=0", 400, 100),
        ("instances", "?score_threshold=0&max_instances=110", 400, 110),
        ("semantic", "", 400, 120),
        ("semantic", "", 90, 90),
        ("semantic", "?score_threshold=0.3", 400, 49),
    ],
)
def test_how_many_masks_come_unasked_depends_on_what_the_student_finds(connect, task, query, most, number):
    client = connect(Many(task=task), limits={"max_instances": most})
    file = io.BytesIO()
    Image.new("RGB", (2, 120)).save(file, "PNG")
    (image,) = segment(client, query, content=file.getvalue()).json()["images"]
    assert len(image["instances"]) == number


class Stuck(PaintedBackend):
    async def segment(self, images):
        await asyncio.Event().wait()
        return await super().segment(images)


def test_a_request_that_takes_too_long_is_given_up(connect):
    answer = segment(connect(Stuck(), limits={"timeout_s": 0.1}))
    assert (answer.status_code, answer.json()["reason"]) == (504, "timeout")


def test_a_request_that_was_given_up_gives_its_room_back(connect):
    client = connect(Stuck(), limits={"timeout_s": 0.1, "max_megapixels": 0.004, "max_held_megapixels": 0.004})
    assert [segment(client).status_code for _ in range(2)] == [504, 504]


def test_masks_of_clicks_are_those_of_the_backend(client):
    answer = client.post('/v1/masks?clicks={"points":[[52,20]]}', content=IMAGE, headers=PNG).json()
    assert answer["model"]["name"] == "same-colour"
    (mask,) = answer["masks"]
    assert mask["predicted_iou"] == 0.8
    assert mask["segmentation"]["counts"].encode() == find(PIXELS).counts[2]
    assert mask["bbox"] == [50, 4, 6, 37]


def test_masks_of_clicks_come_as_polygons_if_asked_for(client):
    path = '/v1/masks?format=polygons&clicks={"points":[[52,20]]}'
    (mask,) = client.post(path, content=IMAGE, headers=PNG).json()["masks"]
    (polygon,) = mask["segmentation"]
    assert sorted(zip(polygon[::2], polygon[1::2], strict=True)) == [(50, 4), (50, 41), (56, 4), (56, 41)]


@pytest.mark.parametrize(("query", "accept"), [("format=label&", "*/*"), ("", "image/png")])
def test_masks_of_clicks_come_as_no_picture(client, query, accept):
    answer = client.post(
        f'/v1/masks?{query}clicks={{"points":[[1,1]]}}', content=IMAGE, headers=PNG | {"accept": accept}
    )
    assert answer.status_code in (406, 422)
