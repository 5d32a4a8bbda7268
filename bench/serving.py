"""The endpoint under load: latencies, throughput, what HTTP and Ray Serve add, and what a rolling restart costs.

    PYTHONPATH=platform:. python -m bench.serving [--json FILE] [--quick] [--only PART ...]

Ray, HAProxy, HTTP, decoding and encoding are real, clients are a process of their own on the same machine. The student
is the shipped one, or a stand-in that sleeps as a device would and always answers the same.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ray import serve

from bench.clients import Load, Request, closed_loop, open_loop
from segray.config.base import build
from segray.config.serve import ServeConfig, StudentServing
from segray.demo.world import scene
from segray.images.decoding import decode
from segray.jobs.serve import NAME, serving
from segray.masks.instances import Instances
from segray.serving.backend import ModelInfo, Pixels
from segray.serving.deployment.app import application
from segray.serving.http import answers
from segray.serving.http.images import DecodedImage
from segray.serving.student import ServedStudent

CLIENTS = (1, 4, 16)
RATES = (2.0, 5.0)
"""Arrivals per second of the open loop, for the shipped student on two cores."""
SLEEP_S = 0.05
BATCH = 8
BOUND = BATCH / SLEEP_S
"""Images per second that a device allows which takes `SLEEP_S` for `BATCH` images."""
JPEG = {"content-type": "image/jpeg"}
MODEL = ModelInfo(kind="student", name="stand-in", weights_sha256="0", classes=("disc",))


@dataclass(frozen=True)
class Sleeping:
    """A student on a device that takes `seconds` for a batch; eight discs on every image."""

    seconds: float

    def answer(self, images: Sequence[Pixels]) -> tuple[list[Instances], ModelInfo]:
        """Sleeps once, whatever the number of images."""
        time.sleep(self.seconds)
        return [discs(image.shape[0], image.shape[1]) for image in images], MODEL

    def info(self) -> ModelInfo:
        """The same always."""
        return MODEL

    def swap(self, uri: str) -> None:
        """Nothing changes."""


_DISCS: dict[tuple[int, int], Instances] = {}


def discs(height: int, width: int) -> Instances:
    """What the stand-in finds on an image of this size."""
    if (height, width) not in _DISCS:
        y, x = np.mgrid[:height, :width] / min(height, width)
        masks = np.stack([(x - 0.1 * i - 0.1) ** 2 + (y - 0.1 * i - 0.1) ** 2 < 0.08**2 for i in range(8)])
        scores = np.linspace(0.9, 0.5, 8)
        _DISCS[height, width] = Instances.from_masks(
            masks, provenance="student", scores=scores, classes=np.zeros(8, dtype=np.int32)
        )
    return _DISCS[height, width]


def jpeg(side: int, kilobytes: int) -> bytes:
    """A scene as a JPEG of about this size."""
    image = Image.fromarray(scene("b", 7, size=side).image)
    sizes = []
    for quality in range(40, 100):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        sizes.append(file.getvalue())
    return min(sizes, key=lambda one: abs(len(one) - kilobytes * 1000))


def configured(*, ingress: bool = False, **student: Any) -> ServeConfig:
    """An endpoint on any free port, without keys, clicks or page, that fits on two cores.

    `ingress`: HTTP in a copy of its own, not in the student's.
    """
    settings = {
        "uri": "platform/segray/assets/weights/mask2former-nano",
        "batching": {"max_images": BATCH, "wait_ms": 0},
        "replicas": {"cpus": 1},
        "max_ongoing": 4 * BATCH,
    }
    tables = {
        "job": "serve",
        "port": 0,
        "page": False,
        "keys": {"kind": "off"},
        "student": settings | student,
        "ingress": {"cpus": 1} if ingress else None,
    }
    return build(ServeConfig, tables, "benchmark")


def sleeping(seconds: float) -> Callable[[StudentServing, str], Sleeping]:
    """What an application makes the stand-in with."""
    return lambda _settings, _uri: Sleeping(seconds)


def request(address: str, body: bytes) -> Request:
    """One image to segment."""
    return Request(url=f"{address}/v1/segment?score_threshold=0", body=body, headers=JPEG)


def line(load: Load) -> dict[str, float]:
    """A load as figures."""
    return {
        "images_per_s": load.per_second,
        **{f"p{percent}_ms": load.quantile_ms(percent) for percent in (50, 95, 99)},
        "failed": load.failed,
        "client_cpu_ms": 1e3 * load.cpu_seconds / len(load.replies),
    }


def in_process(model: Any, body: bytes, times: int) -> float:
    """Median milliseconds of decoding, predicting and encoding an image with nothing between."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        pixels = decode(body, 10**8)
        found, info = model.answer([pixels])
        picture = DecodedImage(name="", sha256="0" * 64, pixels=pixels)
        answers.segment_json([picture], [answers.chosen(found[0], 0.0, 100)], info, "rle")
        taken.append(1e3 * (time.perf_counter() - began))
    return statistics.median(taken)


def overhead(seconds: float, rounds: int) -> dict[str, Any]:
    """One client with a 380 KB JPEG, in turn with the same work in one process; the student answers at once."""
    body, model = jpeg(1280, 380), Sleeping(0.0)
    figures: dict[str, Any] = {"bytes": len(body)}
    for name, ingress in (("one", False), ("two", True)):
        through, alone = [], []
        with serving(configured(ingress=ingress), sleeping(0.0)) as address:
            for _ in range(rounds):
                alone.append(in_process(model, body, 40))
                through.append(closed_loop(request(address, body), 1, seconds).result().quantile_ms(50))
        figures[name] = {
            "http_p50_ms": statistics.median(through),
            "in_process_ms": statistics.median(alone),
            "overhead_ms": statistics.median(through) - statistics.median(alone),
        }
    return figures


def shipped(seconds: float) -> dict[str, Any]:
    """The shipped student on this machine's processors: closed loop, then open loop."""
    body = jpeg(256, 20)
    settings = configured()
    with serving(settings) as address:
        closed = {clients: line(closed_loop(request(address, body), clients, seconds).result()) for clients in CLIENTS}
        opened = {rate: line(open_loop(request(address, body), rate, seconds).result()) for rate in RATES}
    alone = in_process(ServedStudent(settings.student), body, 20)
    return {"bytes": len(body), "closed": closed, "open": opened, "in_process_ms": alone}


def device_bound(seconds: float) -> dict[str, Any]:
    """A device that allows `BOUND` images per second: how many of them callers get."""
    body = jpeg(128, 5)
    with serving(configured(), sleeping(SLEEP_S)) as address:
        closed = {
            clients: line(closed_loop(request(address, body), clients, seconds).result()) for clients in (1, 4, 16, 32)
        }
        opened = {rate: line(open_loop(request(address, body), rate, seconds).result()) for rate in (40.0, 80.0)}
    best = max(one["images_per_s"] for one in closed.values())
    return {"bytes": len(body), "bound": BOUND, "share": best / BOUND, "closed": closed, "open": opened}


def rolling(seconds: float) -> dict[str, Any]:
    """A rolling restart of all copies under load, against what the same clients get when nothing happens."""
    body = jpeg(128, 5)
    settings = configured(max_ongoing=4 * BATCH)
    with serving(settings, sleeping(SLEEP_S)) as address:
        steady = closed_loop(request(address, body), 16, seconds).result()
        under_way = closed_loop(request(address, body), 16, seconds + 25)
        time.sleep(3)
        began = time.time()
        changed = replace(settings, student=replace(settings.student, max_ongoing=5 * BATCH), ingress_max_ongoing=65)
        serve.run(application(changed, sleeping(SLEEP_S)), name=NAME)
        ended = time.time()
        load = under_way.result()
    during = [one for one in load.replies if began <= one.due < ended]
    per_second = sum(one.status == 200 for one in during) / (ended - began)
    return {
        "saturation": steady.per_second,
        "during": per_second,
        "share": per_second / steady.per_second,
        "seconds": ended - began,
        "failed": load.failed,
        "requests": len(load.replies),
    }


def markdown(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    lines = []
    if found := figures.get("overhead"):
        titles = {"one": "HTTP in the student's copy", "two": "HTTP in a copy of its own"}
        lines += [
            f"| {found['bytes'] / 1e3:.0f} KB JPEG, one client | HTTP p50 ms | in one process ms | added ms |",
            "|---|---|---|---|",
            *(
                f"| {title} | {found[name]['http_p50_ms']:.1f} | {found[name]['in_process_ms']:.1f}"
                f" | {found[name]['overhead_ms']:.1f} |"
                for name, title in titles.items()
            ),
            "",
        ]
    for name in ("shipped", "device_bound"):
        if one := figures.get(name):
            lines += _table(name, one)
    if one := figures.get("device_bound"):
        lines.append(f"\nOf the device's bound of {one['bound']:.0f} images/s: {one['share']:.0%}.\n")
    if one := figures.get("rolling"):
        lines.append(
            f"Rolling restart under 16 clients: {one['during']:.0f} images/s for {one['seconds']:.0f} s,"
            f" {one['share']:.0%} of the {one['saturation']:.0f} before; {one['failed']} of {one['requests']}"
            " requests failed."
        )
    return "\n".join(lines)


def _table(name: str, one: dict[str, Any]) -> list[str]:
    rows = [(f"{clients} clients", row) for clients, row in one["closed"].items()]
    rows += [(f"{rate:g} arrivals/s", row) for rate, row in one["open"].items()]
    return [
        f"| {name.replace('_', ' ')} | images/s | p50 ms | p95 ms | p99 ms | failed |",
        "|---|---|---|---|---|---|",
        *(
            f"| {title} | {row['images_per_s']:.1f} | {row['p50_ms']:.0f} | {row['p95_ms']:.0f} | {row['p99_ms']:.0f}"
            f" | {row['failed']} |"
            for title, row in rows
        ),
    ]


def main() -> None:
    """Run the parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="shorter: shows that it runs, not how fast")
    parts = {
        "overhead": lambda seconds: overhead(seconds, 5),
        "shipped": shipped,
        "device_bound": device_bound,
        "rolling": rolling,
    }
    parser.add_argument("--only", nargs="+", choices=list(parts), default=list(parts))
    given = parser.parse_args()
    figures = {name: parts[name](3.0 if given.quick else 20.0) for name in given.only}
    print(markdown(figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
