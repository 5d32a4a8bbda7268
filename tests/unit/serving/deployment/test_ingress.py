"""The backend of Ray Serve's copies: one student for all of a request, and no more images than it can hold."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest

from segray.config.base import build
from segray.config.serve import ServeConfig, StudentServing
from segray.masks import rle
from segray.masks.instances import Instances
from segray.serving.backend import BusyError, ModelInfo
from segray.serving.deployment.deployments import StudentAnswer
from segray.serving.deployment.ingress import InProcessStudent, ReplicasBackend, StudentIngress
from segray.serving.student import RefusedError
from segray.serving.testing import STUDENT, find, scene

IMAGES = [np.full((4, 4, 3), shade, dtype=np.uint8) for shade in (10, 20, 30)]


def model(name: str) -> ModelInfo:
    return ModelInfo(kind="student", name=name, weights_sha256=name, loaded={"old": "2026-01", "new": "2026-02"}[name])


def answer(image: np.ndarray, name: str) -> StudentAnswer:
    """One mask whose score tells the image."""
    masks = np.ones((1, 4, 4), dtype=np.bool_)
    found = Instances.from_masks(masks, provenance="student", scores=[image[0, 0, 0] / 100])
    return StudentAnswer(found=found, model=model(name))


@dataclass
class Changing:
    """A student that changes while it is asked: which of its copies answer, call by call."""

    calls: list[list[str]]
    asked: list[int] = field(default_factory=list)

    async def answers(self, images):
        self.asked.append(len(images))
        return [answer(image, name) for image, name in zip(images, self.calls.pop(0), strict=True)]

    async def info(self):
        return model("new")


@pytest.mark.parametrize(
    ("calls", "asked"),
    [
        ([["old", "old", "old"]], [3]),
        ([["old", "new", "old"], ["new", "new"]], [3, 2]),
        ([["new", "old", "new"], ["old"], ["new"]], [3, 1, 1]),
    ],
    ids=["one student", "two of them", "again and again"],
)
def test_one_student_answers_for_all_images_of_a_request(calls, asked):
    student = Changing(calls)
    last = calls[-1][-1]

    found, model = asyncio.run(ReplicasBackend(student, None).segment(IMAGES))
    assert [round(float(one.scores[0]), 2) for one in found] == [0.1, 0.2, 0.3]
    assert student.asked == asked
    assert model.name == last


def test_a_copy_takes_no_more_images_than_it_can_hold():
    class Slow:
        async def segment(self, image):
            await gate.wait()
            return answer(image, "new")

    async def crowd():
        here = InProcessStudent(Slow(), 4)
        first = asyncio.create_task(here.answers(IMAGES))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await here.answers(IMAGES[:2])
        second = asyncio.create_task(here.answers(IMAGES[:1]))
        await asyncio.sleep(0)
        gate.set()
        return len(await first), len(await second), len(await here.answers(IMAGES))

    gate = asyncio.Event()
    assert asyncio.run(crowd()) == (3, 1, 3)


# ------------------------------------------------------------------------ a copy of the student that speaks HTTP itself

FILE = io.BytesIO()
scene().save(FILE, "PNG")
PNG = {"content-type": "image/png"}
FOUND = find(np.asarray(scene()))


class Painted:
    """Finds what is painted once it is let, and remembers the sizes of its batches."""

    def __init__(self, settings: StudentServing, uri: str) -> None:  # noqa: ARG002  # as `Load` is called
        self.batches: list[int] = []
        self.free = threading.Event()
        self.free.set()

    def answer(self, images):
        self.batches.append(len(images))
        assert self.free.wait(30)
        return [find(image) for image in images], STUDENT

    def info(self):
        return STUDENT

    def swap(self, uri):
        raise {"refused": RefusedError("its weights are damaged"), "too large": MemoryError("no room")}[uri]


@asynccontextmanager
async def copy_of() -> AsyncIterator[tuple[StudentIngress, httpx.AsyncClient]]:
    """As Ray Serve starts it, and a client of it."""
    student = {"uri": "first", "batching": {"wait_ms": 0, "max_images": 2}, "max_ongoing": 2, "target_ongoing": 2}
    limits = {"max_queued": 2, "max_images": 2}
    tables = {"job": "serve", "keys": {"kind": "off"}, "student": student, "ingress": None, "limits": limits}
    copy = StudentIngress(build(ServeConfig, tables, "test"), ".", Painted, None)
    await copy.reconfigure({"student": "first"})
    transport = httpx.ASGITransport(copy.__serve_build_asgi_app__())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield copy, client


async def segment(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/segment?score_threshold=0", content=FILE.getvalue(), headers=PNG)


def test_a_copy_that_speaks_http_itself_answers_what_its_student_finds():
    async def asked():
        async with copy_of() as (_, client):
            return await segment(client), await client.get("/readyz"), await client.get("/v1/models")

    answer, ready, models = asyncio.run(asked())
    (image,) = answer.json()["images"]
    counts = [one["segmentation"]["counts"].encode() for one in image["instances"]]
    assert rle.iou(counts, list(FOUND.counts), (48, 64)).diagonal().tolist() == [1, 1, 1]
    assert answer.json()["model"]["name"] == "painted"
    assert ready.json() == {"status": "ready"}
    assert [one["kind"] for one in models.json()["models"]] == ["student"]


def test_a_copy_that_speaks_http_itself_batches_and_turns_away_what_it_cannot_hold():
    async def crowd():
        async with copy_of() as (copy, client):
            copy._model.free.clear()
            asked = [asyncio.create_task(segment(client)) for _ in range(5)]
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            ready = await client.get("/readyz")
            copy._model.free.set()
            answers = await asyncio.gather(*asked)
            return [one.result() for one in done], answers, ready, await segment(client), copy._model.batches

    (refused,), answers, ready, afterwards, batches = asyncio.run(crowd())
    assert sorted(one.status_code for one in answers) == [200, 200, 200, 200, 429]
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["reason"] == "busy"
    assert ready.status_code == afterwards.status_code == 200
    assert sum(batches) == 5
    assert max(batches) == 2


@pytest.mark.parametrize(
    ("uri", "says"),
    [("refused", "its weights are damaged"), ("too large", "it failed while it was loaded; the log of the copy")],
)
def test_a_student_that_cannot_be_loaded_is_refused_and_the_one_before_goes_on(uri, says, caplog):
    async def changed():
        async with copy_of() as (copy, client):
            await copy.reconfigure({"student": uri})
            await asyncio.gather(*copy._changes)
            return await client.get("/v1/models"), await segment(client)

    models, answer = asyncio.run(changed())
    (model,) = models.json()["models"]
    assert says in model["refused"]
    assert answer.status_code == 200
    assert [uri in one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == [True]
