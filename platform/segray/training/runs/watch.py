"""Follows a run from outside by the lines it writes: wherever its workers are, its folder is what all can read."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from segray.errors import SourceError
from segray.storage import files
from segray.training.runs.folder import RunFolder
from segray.training.runs.metrics import METRICS

LOOK_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where a run stands."""

    run: str
    step: int
    steps: int
    steps_per_s: float
    """Since this command began to see steps; 0 until then."""
    figures: Mapping[str, float]
    """The newest of each kind."""


class Rate:
    """Steps per second since the first look, or since a resumed run went back behind what was seen there."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def at(self, step: int, seconds: float) -> float:
        """The rate when `step` is seen at a time."""
        if self._first is None or step < self._first[0]:
            self._first = step, seconds
        return (step - self._first[0]) / max(seconds - self._first[1], 1e-6)


@contextmanager
def watching(folder: RunFolder, steps: int, show: Callable[[TrainProgress], None] | None) -> Iterator[None]:
    """Calls `show` from a thread of its own whenever the run has written something new."""
    if show is None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(folder, steps, show, over), name="segray-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(folder: RunFolder, steps: int, show: Callable[[TrainProgress], None], over: threading.Event) -> None:
    seen, rate = b"", Rate()
    while True:
        last_look = over.wait(LOOK_EVERY_S)
        found = _lines(folder)
        if found != seen:
            seen, step = found, 0
            figures: dict[str, float] = {}
            for line in found.splitlines():
                entry = _parsed(line)
                step = int(entry.pop("step", step))
                figures |= {name: value for name, value in entry.items() if isinstance(value, float)}
            speed = rate.at(step, time.monotonic())
            show(TrainProgress(run=folder.name, step=step, steps=steps, steps_per_s=speed, figures=figures))
        if last_look:
            return


def _lines(folder: RunFolder) -> bytes:
    try:
        return files.read_bytes(files.join(folder.uri, METRICS))
    except SourceError:
        return b""


def _parsed(line: bytes) -> dict[str, float]:
    """A line's values; nothing of one that is being written."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return dict(found) if isinstance(found, dict) else {}
