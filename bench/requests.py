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

from bench.counting_s3 import CountingS3, Request, environment_of
from segray.assets import SAM_NANO
from segray.config.label import LabelConfig
from segray.job_configs import load_as
from segray.jobs.label import label
from segray.jobs.train import train
from segray.methods.config import TrainConfig
from segray.storage import files
from segray.testing import write_images, write_training

PER_IMAGE = ("image",)
PER_PART = ("part", "attempt note")
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
    """A job, what it asked, and how many images and parts it labeled."""

    name: str
    requests: Sequence[Request]
    images: int
    parts: int

    def of(self, kinds: Sequence[str]) -> list[Request]:
        """Return the requests of these kinds."""
        return [one for one in self.requests if one.kind in kinds]

    def rest(self) -> list[Request]:
        """Return the requests that belong to no image and no part."""
        return [one for one in self.requests if one.kind not in (*PER_IMAGE, *PER_PART)]


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
    phases = [Phase(name="label, cold", requests=cold, images=images, parts=-(-images // images_per_part))]
    with fresh_machine(), server.counted() as nothing:
        label(config)
    phases.append(Phase(name="label, nothing left to do", requests=nothing, images=0, parts=0))
    for entry in list(files.list_files(files.join(summary.store, "parts")))[:2]:
        system, path = files.filesystem(entry.uri)
        system.delete_file(path)
    with fresh_machine(), server.counted() as resumed:
        again = label(config)
    parts = -(-again.images // images_per_part)
    return [*phases, Phase(name="label, resumed", requests=resumed, images=again.images, parts=parts)]


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
    return Phase(name="train, one step", requests=requests, images=read, parts=0)


def table(phases: Sequence[Phase]) -> list[list[str]]:
    """Return the lines of the table, its head first."""
    lines = [["job", "per", "number", "requests each", "bytes each", "requests"]]
    for phase in phases:
        kinds = [("image", phase.images, phase.of(PER_IMAGE)), ("part", phase.parts, phase.of(PER_PART))]
        for per, number, found in [*kinds, ("job", 1, phase.rest())]:
            if number or found:
                each = max(number, 1)
                size = sum(one.sent + one.received for one in found)
                lines.append(
                    [phase.name, per, str(number), f"{len(found) / each:.2f}", f"{size / each:,.0f}", _told(found)]
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
    with CountingS3() as server, environment_of(server):
        server.make_bucket("bucket")
        phases = measure_labeling(server, 16 if given.quick else given.images, given.images_per_part)
        phases.append(measure_training(server))
    head, *lines = table(phases)
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
