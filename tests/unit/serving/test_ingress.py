"""The backend of Ray Serve's copies: one student for all of a request, and no more images than it can hold."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from segray.masks.instances import Instances
from segray.serving.backend import BusyError, ModelInfo
from segray.serving.deployments import Answer
from segray.serving.ingress import CopiesBackend, Here

IMAGES = [np.full((4, 4, 3), shade, dtype=np.uint8) for shade in (10, 20, 30)]


def model(name: str) -> ModelInfo:
    return ModelInfo(kind="student", name=name, weights_sha256=name, loaded={"old": "2026-01", "new": "2026-02"}[name])


def answer(image: np.ndarray, name: str) -> Answer:
    """One mask whose score tells the image."""
    masks = np.ones((1, 4, 4), dtype=np.bool_)
    found = Instances.from_masks(masks, provenance="student", scores=[image[0, 0, 0] / 100])
    return Answer(found=found, model=model(name))


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

    found, model = asyncio.run(CopiesBackend(student, None).segment(IMAGES))
    assert [round(float(one.scores[0]), 2) for one in found] == [0.1, 0.2, 0.3]
    assert student.asked == asked
    assert model.name == last


def test_a_copy_takes_no_more_images_than_it_can_hold():
    class Slow:
        async def segment(self, image):
            await gate.wait()
            return answer(image, "new")

    async def crowd():
        here = Here(Slow(), 4)
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
