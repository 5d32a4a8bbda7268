"""Mutated files, read as jobs read them: each is used, counted as left out, or refused in words.

A fault is anything else: another exception, counts that do not add up, a hang, or the end of the process. Run by
`tools.fuzz` in a process of its own for each kind: `python -m tools.fuzz.readers KIND --number N --seed S --folder F`.
"""

import io
import json
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
import typer
from PIL import Image

from segray.errors import ImageError, SegrayError
from segray.formats.coco import CocoSource
from segray.formats.coco.writer import export_coco
from segray.formats.label_studio import LabelStudioSource
from segray.formats.label_studio.writer import export_label_studio
from segray.formats.registry import open_source
from segray.formats.yolo import YoloSource
from segray.formats.yolo.writer import export_yolo
from segray.images import decoding
from segray.masks.instances import Instances
from segray.store.rows import ImageRow, LabeledRow
from tools.fuzz.mutations import as_json, changed_bytes, changed_json, changed_text

HANG_S: Final = 30
"""Seconds after which one input is a hang."""
_SIDE: Final = 48
_MOST_PIXELS: Final = 1_000_000
_KINDS: Final = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "GIF", "BMP", "JPEG2000", "PPM")


class LostError(Exception):
    """What was read does not add up to what was given."""


def image_inputs(rng: np.random.Generator) -> list[bytes]:
    """Return small good images of every kind."""
    noise = rng.integers(0, 256, (_SIDE, _SIDE, 3)).astype(np.uint8)
    found = []
    for kind in _KINDS:
        for mode in ("RGB", "L", "P") if kind in ("PNG", "TIFF", "GIF") else ("RGB",):
            buffer = io.BytesIO()
            Image.fromarray(noise).convert(mode).save(buffer, kind)
            found.append(buffer.getvalue())
    for deep in (noise.astype(np.uint16) * 17, noise / np.float32(255)):
        for compression in (None, "zlib", "lzw"):
            buffer = io.BytesIO()
            tifffile.imwrite(buffer, deep, photometric="rgb", compression=compression)
            found.append(buffer.getvalue())
    return found


def check_image(data: bytes) -> str:
    """Return what became of an image."""
    try:
        size_hw = decoding.probe(data)
    except ImageError as error:
        return _known(error)
    try:
        pixels = decoding.decode(data, _MOST_PIXELS)
    except ImageError as error:
        return _known(error)
    if pixels.shape != (*size_hw, 3):
        raise LostError(f"the header said {size_hw}, pixels are {pixels.shape}")
    return "used"


def rows_of_shapes(rng: np.random.Generator) -> list[LabeledRow]:
    """Return three images with rectangles."""
    rows = []
    for name in ("a.png", "d/b.png", "c.png"):
        masks = np.zeros((3, _SIDE, _SIDE), bool)
        for mask in masks:
            y, x = rng.integers(0, _SIDE - 9, 2)
            mask[y : y + 8, x : x + 6] = True
            mask[y + 2 : y + 4, x + 2 : x + 4] = False
        instances = Instances.from_masks(masks, provenance="sam:nano", classes=[0, 1, 0], ids=["1", "x", ""])
        rows.append(LabeledRow(image=ImageRow(image_id=name, uri=name, version="1"), instances=instances))
    return rows


def check_coco(data: bytes, folder: Path) -> str:
    """Return what became of a COCO file."""
    path = folder / "instances.json"
    path.write_bytes(data)
    source = open_source(CocoSource(uri=str(folder), annotations=str(path)))
    given = len(source.document.get("annotations") or ())  # type: ignore[attr-defined]
    masks = 0
    for row in source.rows():
        found = source.instances(row.image_id)
        masks += 0 if found is None else len(found)
        source.prompts(row.image_id)  # type: ignore[attr-defined]
    tally = open_tally(source)
    # Boxes of prompts are counted under the same kind: twice as many are used.
    if tally["annotations"].used < masks or tally["annotations"].read < given:
        raise LostError(f"{given} annotations, {masks} masks: {tally.lines()}")
    return "used"


def check_label_studio(data: bytes, folder: Path) -> str:
    """Return what became of a Label Studio file."""
    path = folder / "tasks.json"
    path.write_bytes(data)
    source = open_source(LabelStudioSource(uri=str(folder), annotations=str(path), predictions=True))
    given, masks = len(json.loads(data)), 0
    for row in source.rows():
        found = source.instances(row.image_id)
        masks += 0 if found is None else len(found)
    tally = open_tally(source)
    if tally["regions"].used != masks or tally["tasks"].read != given:
        raise LostError(f"{given} tasks, {masks} masks: {tally.lines()}")
    return "used"


def check_yolo(data: bytes, folder: Path) -> str:
    """Return what became of a YOLO text file."""
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_bytes(data)
    (folder / "data.yaml").write_text("names: [cat, dog]\n")
    entry = {"file": "labels/a.txt", "image_id": "a.png", "size_hw": [_SIDE, _SIDE]}
    (folder / "index.jsonl").write_text(json.dumps(entry) + "\n")
    source = open_source(YoloSource(uri=str(folder), labels=str(folder / "labels")))
    found = source.instances("a.png")
    given = sum(bool(line.strip()) for line in data.decode(errors="replace").splitlines())
    tally = open_tally(source)
    if found is None or tally["lines"].read != given or tally["lines"].used != len(found):
        raise LostError(f"{given} lines, {0 if found is None else len(found)} masks: {tally.lines()}")
    source.prompts("a.png")  # type: ignore[attr-defined]
    return "used"


def open_tally(source: Any) -> Any:
    """Return what a source counted; see that its lines and its JSON can be made."""
    tally = source.tally
    json.dumps(tally.to_json(), ensure_ascii=True)
    tally.lines()
    return tally


def inputs(kind: str, seed: int, folder: Path) -> Iterator[bytes]:
    """Yield mutated inputs of a kind, without end."""
    rng = np.random.default_rng([seed, *kind.encode()])
    if kind == "images":
        good = image_inputs(rng)
        while True:
            yield changed_bytes(good[int(rng.integers(len(good)))], rng)
    if kind == "yolo":
        export_yolo(rows_of_shapes(rng), folder / "good", ("cat", "dog"), tolerance_px=0, overwrite=True)
        text = (folder / "good" / "labels" / "a.txt").read_text() + "1 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2 0.9\n"
        while True:
            changed = changed_text(text, rng).encode(errors="surrogatepass")
            yield changed if rng.random() < 0.7 else changed_bytes(changed, rng)
    for document in _documents(kind, rng, folder):
        written = as_json(changed_json(document, rng))
        yield written if rng.random() < 0.9 else changed_bytes(written, rng)


def _documents(kind: str, rng: np.random.Generator, folder: Path) -> Iterator[Any]:
    rows = rows_of_shapes(rng)
    if kind == "label-studio":
        export_label_studio(rows, folder / "good", ("cat", "dog"), model_version="1", overwrite=True)
        tasks = json.loads((folder / "good" / "tasks.json").read_text())
        tasks[0]["annotations"] = tasks[0].pop("predictions")
        while True:
            yield tasks
    for form in ("rle", "polygons", "cvat"):
        export_coco(rows, folder / f"{form}.json", ("cat", "dog"), form=form, overwrite=True)
    good = [json.loads((folder / f"{form}.json").read_text()) for form in ("rle", "polygons", "cvat")]
    while True:
        yield good[int(rng.integers(len(good)))]


CHECKS: Final[dict[str, Callable[[bytes, Path], str]]] = {
    "images": lambda data, _: check_image(data),
    "coco": check_coco,
    "label-studio": check_label_studio,
    "yolo": check_yolo,
}


def run(kind: str, number: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Read so many mutated inputs; return what became of them, and every fault with its input's number.

    The input at hand lies in `folder/at`, so that one that ends the process can be had from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    check = CHECKS[kind]
    for index, data in zip(range(number), inputs(kind, seed, folder), strict=False):
        (folder / "at").write_bytes(data)
        try:
            with _limited(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcomes[check(data, folder)] += 1
        except SegrayError:
            outcomes["refused"] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcomes["fault"] += 1
            (folder / f"fault-{index}").write_bytes(data)
            faults.append(f"{kind} {index}: {''.join(traceback.format_exception(error)[-3:])}")
    return outcomes, faults


def _known(error: ImageError) -> str:
    if error.reason not in decoding.REASONS:
        raise LostError(f"a reason that nobody knows: {error.reason}")
    return error.reason


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no answer within {HANG_S} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)


def main(kind: str, number: int = 1000, seed: int = 0, folder: Path = Path("out/fuzz")) -> None:
    """Read so many mutated inputs of a kind and print what became of them, as one line of JSON."""
    outcomes, faults = run(kind, number, seed, folder)
    sys.stdout.write(json.dumps({"kind": kind, "seed": seed, "outcomes": dict(outcomes), "faults": faults}) + "\n")


if __name__ == "__main__":
    typer.run(main)
