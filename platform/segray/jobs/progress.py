"""How far a job is, for people: bars on a terminal, a line now and then elsewhere.

The commands and the Python API show the same. Knows rich and what jobs tell of themselves.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from segray import metric_names
from segray.jobs.label import LabelProgress, Show
from segray.training.runs.watch import TrainProgress

err = Console(stderr=True)
LINE_EVERY_S = 10.0
"""Seconds between progress lines where there is no terminal."""


COLUMNS = ("{task.description}", "{task.fields[rate]}")
"""What stands before and after a bar."""


def _bars(*, transient: bool) -> Progress:
    before, after = (TextColumn(text) for text in COLUMNS)
    return Progress(before, BarColumn(), MofNCompleteColumn(), after, console=err, transient=transient)


def _now_and_then() -> Callable[[str, bool], None]:
    """Return a function that prints a line if the last one is long ago, or if it is the last of all."""
    last = 0.0

    def line(text: str, over: bool) -> None:
        nonlocal last
        if over or time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            err.print(text, highlight=False)

    return line


@contextmanager
def label_progress(total_hint: str) -> Iterator[Show]:
    """Show a label job's progress: a bar on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        line = _now_and_then()
        yield lambda at: line(f"{total_hint}: {at.done}/{at.total} images, {_rate(at)}", at.done == at.total)
        return
    with _bars(transient=True) as progress:
        task = progress.add_task(total_hint, total=None, rate="starting")
        yield lambda at: progress.update(task, total=at.total, completed=at.done, rate=_rate(at))


def _rate(at: LabelProgress) -> str:
    working_s = max(at.elapsed_s - at.startup_s, 1e-6)
    left_s = (at.total - at.done) * working_s / max(at.done, 1)
    refused = f", {at.refused} refused" if at.refused else ""
    return f"{at.done / working_s:.2f} images/s, {at.masks} masks{refused}, {duration(left_s)} left"


@contextmanager
def train_progress() -> Iterator[Callable[[TrainProgress], None]]:
    """Show a training's progress, run after run: bars on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        line = _now_and_then()
        yield lambda at: line(f"{at.run}: {at.step}/{at.steps} steps, {_train_rate(at)}", at.step == at.steps)
        return
    with _bars(transient=False) as progress:
        tasks: dict[str, TaskID] = {}

        def show(at: TrainProgress) -> None:
            if at.run not in tasks:
                tasks[at.run] = progress.add_task(at.run, total=at.steps, rate="")
            progress.update(tasks[at.run], completed=at.step, rate=_train_rate(at))

        yield show


def _train_rate(at: TrainProgress) -> str:
    known = [
        f"{name} {at.figures[name]:.3g}"
        for name in (metric_names.LOSS, metric_names.AP, metric_names.MIOU)
        if name in at.figures
    ]
    left = f"{duration((at.steps - at.step) / at.steps_per_s)} left" if at.steps_per_s else ""
    return ", ".join(part for part in (f"{at.steps_per_s:.2f} steps/s", *known, left) if part)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show done of all: a bar on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        line = _now_and_then()
        yield lambda done, total: line(f"{what}: {done}/{total}", done == total)
        return
    with _bars(transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def duration(seconds: float) -> str:
    """Return seconds as a person says them: `4 min 05 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
