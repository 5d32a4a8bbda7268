"""What jobs ask of an object store: requests and bytes per image, per part and per job, on a counting S3 server.

    PYTHONPATH=platform:. python -m bench.requests [--images 64] [--images-per-part 8]

A label job with the embedded weights copied to the store, over tiny images there, in this process: cold, and again when
the store holds everything but two parts' images. Then a training's start: one of a single step. Counts depend on no
clock, except the lease's: it is renewed every five seconds with three requests, which are counted with the job.
"""

import argparse
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from bench.counting_s3 import CountingS3, Request
from segray.assets import SAM_NANO
from segray.config.label import LabelConfig
from segray.job_configs import load_as
from segray.jobs.endpoint.isolation import environment
from segray.jobs.label import label
from segray.jobs.train import train
from segray.labels.attempts import EARLIER
from segray.labels.first_look import LOOKED_AT
from segray.methods.config import TrainConfig
from segray.storage import files
from segray.testing import write_images, write_training

_LABEL = """
job = "label"
stores = "s3://bucket/stores"
source = { kind = "folder", uri = "s3://bucket/images" }
sam = { kind = "original", model = "nano", weights = "s3://bucket/sam.safetensors" }
masks = { points_per_side = 2 }
workers = { num_workers = 0, images_per_part = %d }
"""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A job, what it asked, and how often it did what."""

    name: str
    requests: Sequence[Request]
    images: int
    """Images that it read, those looked at before the first is labeled counted twice."""
    parts: int
    """Parts that it committed."""
    held: int
    """Parts that the store held at its end."""


def belongs_to(request: Request) -> str:
    """Return what a request is made for: an image, a commit, the reading of a part, or the job."""
    if request.kind == "part":
        return "part read" if request.method in ("GET", "HEAD") else "part committed"
    if request.kind == "attempt note" and request.method in ("PUT", "GET") and not request.key.endswith(EARLIER):
        return "part committed"
    return "image read" if request.kind == "image" else "job"


@contextmanager
def fresh_machine() -> Iterator[None]:
    """Take away what earlier jobs left in the folder of copies."""
    with tempfile.TemporaryDirectory() as folder, mock.patch("tempfile.tempdir", folder):
        yield


def measure_labeling(server: CountingS3, images: int, images_per_part: int) -> list[Phase]:
    """Label all images, take two parts away, and label again."""
    config = _config(images_per_part)
    with tempfile.TemporaryDirectory() as folder:
        for path in write_images(Path(folder), images):
            files.write_bytes_atomic(f"s3://bucket/images/{path.name}", path.read_bytes())
    files.write_bytes_atomic("s3://bucket/sam.safetensors", SAM_NANO.read_bytes())
    with fresh_machine(), server.counted() as cold:
        summary = label(config)
    assert summary.images == images
    held = -(-images // images_per_part)
    looked_at = min(images, LOOKED_AT)
    phases = [Phase(name="label, cold", requests=cold, images=images + looked_at, parts=held, held=held)]
    with fresh_machine(), server.counted() as nothing:
        label(config)
    phases.append(Phase(name="label, nothing left to do", requests=nothing, images=0, parts=0, held=held))
    for entry in list(files.list_files(files.join(summary.store, "parts")))[:2]:
        system, path = files.filesystem(entry.uri)
        system.delete_file(path)
    with fresh_machine(), server.counted() as resumed:
        again = label(config)
    parts = -(-again.images // images_per_part)
    return [*phases, Phase(name="label, resumed", requests=resumed, images=again.images, parts=parts, held=held)]


def measure_training(server: CountingS3) -> Phase:
    """Start a training on images in the store, for one step."""
    with tempfile.TemporaryDirectory() as folder, fresh_machine():
        path = write_training(Path(folder), "supervised", steps=1)
        for found in Path(folder).rglob("*"):
            if found.is_file() and found != path:
                files.write_bytes_atomic(f"s3://bucket/training/{found.relative_to(folder)}", found.read_bytes())
        path.write_text(path.read_text().replace(folder, "s3://bucket/training"))
        shutil.rmtree(Path(folder) / "runs", ignore_errors=True)
        with server.counted() as requests:
            train(load_as(TrainConfig, path))
    read = len({one.key for one in requests if one.kind == "image"})
    return Phase(name="train, one step", requests=requests, images=read, parts=0, held=0)


def table(phases: Sequence[Phase]) -> list[list[str]]:
    """Return the lines of the table, its head first."""
    lines = [["job", "for each", "number", "requests", "bytes", "all requests"]]
    for phase in phases:
        numbers = {"image read": phase.images, "part committed": phase.parts, "part read": phase.held, "job": 1}
        for what, number in numbers.items():
            found = [one for one in phase.requests if belongs_to(one) == what]
            if found and number:
                size = sum(one.sent + one.received for one in found)
                lines.append(
                    [phase.name, what, str(number), f"{len(found) / number:.2f}", f"{size / number:,.0f}", _told(found)]
                )
    return lines


def _told(requests: Sequence[Request]) -> str:
    counted = Counter(f"{one.method} {one.kind}" for one in requests)
    return ", ".join(f"{number} {what}" for what, number in counted.most_common())


def _config(images_per_part: int) -> LabelConfig:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "label.toml"
        path.write_text(_LABEL % images_per_part)
        return load_as(LabelConfig, path)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--images-per-part", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="fewer images: shows that it runs")
    given = parser.parse_args()
    with CountingS3() as server, environment(server.environment):
        server.make_bucket("bucket")
        phases = measure_labeling(server, 16 if given.quick else given.images, given.images_per_part)
        phases.append(measure_training(server))
    head, *lines = table(phases)
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
