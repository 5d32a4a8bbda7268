import asyncio
import gc
import hashlib
import io
import os
import random
import struct
import threading
import tracemalloc
import zlib

import anyio
import numpy as np
import pytest
from PIL import Image

from segray.config.serve import RequestLimits
from segray.serving.backend import BusyError
from segray.serving.http.images import DecodeThreads, ImageDecoder
from segray.serving.http.problems import Problem, ProblemError
from segray.serving.http.requests import Upload
from segray.serving.testing import scene

OCTETS = {"content-type": "application/octet-stream"}
KINDS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "AVIF": {},
    "TIFF": {"compression": "tiff_lzw"},
    "GIF": {},
    "BMP": {},
    "JPEG2000": {},
    "PPM": {},
}


def encoded(image, kind="PNG", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width, height):
    """A few bytes that say they are a very large PNG."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


def gif_bomb():
    return b"GIF89a" + struct.pack("<HH", 65535, 65535) + encoded(scene(), "GIF")[10:]


def bmp_bomb():
    data = bytearray(encoded(scene(), "BMP"))
    data[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(data)


def develop(limits, *uploads):
    async def all_of_it():
        room = ImageDecoder(limits, DecodeThreads(2))
        async with room.decode([Upload(data=one) for one in uploads]) as pictures:
            return pictures

    return asyncio.run(all_of_it())


def refused(limits, *uploads):
    with pytest.raises(ProblemError) as caught:
        develop(limits, *uploads)
    return caught.value


@pytest.mark.parametrize(("kind", "settings"), KINDS.items(), ids=KINDS)
def test_every_kind_of_image_is_developed(kind, settings):
    data = encoded(scene(), kind, **settings)
    (picture,) = develop(RequestLimits(), data)
    assert picture.sha256 == hashlib.sha256(data).hexdigest()
    assert np.abs(picture.pixels.astype(int) - np.asarray(scene())).mean() < 8


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "P", "RGBA", "LA", "1", "L"])
def test_every_mode_of_pixels_becomes_rgb(mode, client):
    image = scene().convert("L").convert("I;16") if mode == "I;16" else scene().convert(mode)
    data = encoded(image, "TIFF")
    (picture,) = develop(RequestLimits(), data)
    assert picture.pixels.shape == (48, 64, 3)
    assert client.post("/v1/segment", content=data, headers=OCTETS).status_code == 200


def test_of_an_animation_the_first_picture_counts(client):
    data = encoded(scene(), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48))] * 3)
    (image,) = client.post("/v1/segment", content=data, headers=OCTETS).json()["images"]
    assert [one["class"] for one in image["instances"]] == ["red", "green"]


def test_a_photograph_of_a_phone_is_turned_upright(client):
    """12 megapixels, taken with the phone upright: the sensor's rows are columns, and EXIF says so."""
    upright = scene(3024, 4032)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95, subsampling=0)
    answer = client.post("/v1/masks", content=data, headers=OCTETS, params={"clicks": '{"points": [[3000, 4000]]}'})
    assert (answer.json()["height"], answer.json()["width"]) == (4032, 3024)
    (picture,) = develop(RequestLimits(), data)
    assert np.abs(picture.pixels[:48, :64].astype(int) - np.asarray(scene())).mean() < 8


@pytest.mark.parametrize(
    "data",
    [
        png_bomb(65_535, 65_535),
        png_bomb(2**31 - 1, 2**31 - 1),
        gif_bomb(),
        bmp_bomb(),
        encoded(Image.new("1", (9000, 9000))),
    ],
    ids=["png", "largest png", "gif", "bmp", "a real one"],
)
def test_a_bomb_is_refused_by_its_header(data, client):
    assert len(data) < 100_000
    tracemalloc.start()
    answer = client.post("/v1/segment", content=data, headers=OCTETS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (answer.status_code, answer.json()["reason"]) == (413, "image-too-large")
    assert peak < 20_000_000


def test_an_image_of_exactly_the_limit_is_developed():
    data = encoded(scene(100, 100))
    assert develop(RequestLimits(max_megapixels=0.01), data)
    problem = refused(RequestLimits(max_megapixels=0.0099), data)
    assert problem.detail == "an image has at most 0.0099 megapixels; images.0 has 100 x 100 pixels"


def test_all_that_is_wrong_with_the_images_is_said_at_once():
    good = encoded(scene())
    problem = refused(RequestLimits(), good, b"", good[:100], b"no image", png_bomb(0, 5))
    assert problem.status == 422
    reasons = [(flaw.where, flaw.reason) for flaw in problem.flaws]
    assert reasons == [("images.1", "empty"), ("images.3", "not-an-image"), ("images.4", "zero-sized")]
    problem = refused(RequestLimits(), good, good[:100], good[:-200])
    assert [(flaw.where, flaw.reason) for flaw in problem.flaws] == [
        ("images.1", "damaged"),
        ("images.2", "damaged"),
    ]


def test_the_images_of_a_request_are_bounded_together():
    data = encoded(scene(100, 100))
    limits = RequestLimits(max_megapixels=0.01, max_held_megapixels=0.02)
    assert len(develop(limits, data, data)) == 2
    assert refused(limits, data, data, data).reason == "images-too-large"


def test_a_request_waits_outside_while_others_hold_all_pixels():
    data = Upload(data=encoded(scene(100, 100)))

    async def two_at_once():
        room = ImageDecoder(RequestLimits(max_megapixels=0.01, max_held_megapixels=0.015), DecodeThreads(2))
        async with room.decode([data]):
            with pytest.raises(BusyError):
                async with room.decode([data]):
                    pass
        async with room.decode([data]) as pictures:
            return pictures

    assert len(asyncio.run(two_at_once())) == 1


def test_a_refused_image_gives_its_room_back():
    async def refused_then_developed():
        room = ImageDecoder(RequestLimits(max_megapixels=0.01, max_held_megapixels=0.01), DecodeThreads(2))
        data = encoded(scene(100, 100))
        with pytest.raises(ProblemError):
            async with room.decode([Upload(data=data[:-100])]):
                pass
        async with room.decode([Upload(data=data)]) as pictures:
            return pictures

    assert len(asyncio.run(refused_then_developed())) == 1


# ------------------------------------------------------------------------------------- requests that are cancelled


class Held(DecodeThreads):
    """Whose threads wait for a gate from their second work on: an image's header is read, then it is decoded."""

    def __init__(self):
        super().__init__(3)
        self.gate, self.begun, self.asked = threading.Event(), threading.Event(), 0

    async def __call__(self, work):
        self.asked += 1
        if self.asked == 1:
            return await super().__call__(work)
        return await super().__call__(lambda: (self.begun.set(), self.gate.wait(30), work())[-1])


async def by_its_caller(developing, workers):
    """As Ray Serve cancels a request whose client has gone."""
    task = asyncio.create_task(developing)
    await asyncio.to_thread(workers.begun.wait, 30)
    task.cancel()
    return task


async def by_the_time_limit(developing, workers):
    async def limited():
        with anyio.fail_after(0.01):
            await developing

    task = asyncio.create_task(limited())
    await asyncio.to_thread(workers.begun.wait, 30)
    return task


@pytest.mark.parametrize(
    ("cancel", "error"), [(by_its_caller, asyncio.CancelledError), (by_the_time_limit, TimeoutError)]
)
def test_what_a_thread_still_decodes_is_held_until_it_ends(cancel, error):
    data, workers = Upload(data=encoded(scene(100, 100))), Held()

    async def cancelled_then_another():
        room = ImageDecoder(RequestLimits(max_megapixels=0.01, max_held_megapixels=0.02), workers)
        assert workers.asked == 0

        async def develop(*uploads):
            async with room.decode(uploads) as pictures:
                return pictures

        task = await cancel(develop(data, data), workers)
        assert (await asyncio.wait([task], timeout=0.1))[1] == {task}
        workers.asked = 0
        with pytest.raises(BusyError):
            await develop(data)
        workers.gate.set()
        with pytest.raises(error):
            await task
        return await develop(data)

    assert len(asyncio.run(cancelled_then_another())) == 1


def test_what_no_thread_has_begun_is_not_begun_for_a_caller_who_has_gone():
    gate, begun, ran = threading.Event(), threading.Event(), []

    async def one_goes():
        workers = DecodeThreads(1)
        first = asyncio.create_task(workers(lambda: (begun.set(), gate.wait(30))))
        await asyncio.to_thread(begun.wait, 30)
        second = asyncio.create_task(workers(lambda: ran.append(2)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first
        await workers(lambda: ran.append(3))

    asyncio.run(one_goes())
    assert ran == [3]


# ------------------------------------------------------------------------------------------------- bytes gone wrong


def damaged(kind, number, seed):
    """An image of this kind, cut short, or with bytes changed, most of them in its head."""
    rng = random.Random(f"{kind} {seed}")
    whole = encoded(scene(), kind, **KINDS[kind])
    for _ in range(number):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.choice([0, 1, 4, 32])):
            if data:
                data[rng.randrange(min(len(data), rng.choice([40, 10_000])))] = rng.randrange(256)
        yield bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_give_an_answer_or_a_documented_refusal(kind, connect):
    client = connect(limits={"max_megapixels": 0.5})
    answers = [client.post("/v1/segment", content=data, headers=OCTETS) for data in damaged(kind, 80, 0)]
    assert {one.status_code for one in answers} <= {200, 413, 422}
    for one in answers:
        if one.status_code != 200:
            assert Problem.model_validate_json(one.text).reason in ("bad-image", "image-too-large")
            assert "Error" not in one.text
            assert "/" not in Problem.model_validate_json(one.text).detail.split("(")[0]
    assert any(one.status_code != 200 for one in answers)


def test_wrong_requests_leave_nothing_behind(connect):
    client = connect(limits={"max_megapixels": 0.5})

    def all_wrong(seed):
        for kind in KINDS:
            for data in damaged(kind, 10, seed):
                client.post("/v1/segment", content=data, headers=OCTETS)
                client.post("/v1/segment", files=[("images", ("a", data))])
                client.post("/v1/masks", content=data, headers=OCTETS, params={"clicks": "{"})

    def left():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208

    with client:
        all_wrong(1)
        before = left()
        tracemalloc.start()
        all_wrong(2)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert left() == before
    assert held < 200_000
