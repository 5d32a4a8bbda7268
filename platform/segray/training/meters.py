"""What a cluster's Prometheus sees of a run, through Ray's exporter (which puts `ray_` before each name).

Repeats the lines of metrics that the leading worker writes; the run's own metrics.jsonl is what counts.
"""

import time
from collections.abc import Mapping

from ray.util.metrics import Gauge

from segray import metric_names

RUN = ("run",)


class TrainMeters:
    """The gauges of one run, set by its leading worker."""

    def __init__(self, run: str) -> None:
        """`run` is the name of the run's folder."""
        self._loss = Gauge("segray_train_loss", "Mean loss over the steps of the last line.", (*RUN, "part"))
        self._score = Gauge("segray_train_score", "What the last evaluation found.", (*RUN, "metric"))
        self._step = Gauge("segray_train_step", "Steps done.", RUN)
        self._seconds = Gauge(
            "segray_train_step_seconds", "Mean time of a step since the line before, all that is between included.", RUN
        )
        for gauge in (self._loss, self._score, self._step, self._seconds):
            gauge.set_default_tags({"run": run})
        self._before: tuple[int, float] | None = None

    def observe(self, kind: str, done: int, values: Mapping[str, float]) -> None:
        """One line: `kind` is train or evaluate, `done` the steps done."""
        if kind == "evaluate":
            for metric, value in values.items():
                self._score.set(value, tags={"metric": metric})
            return
        for part, value in values.items():
            if part.split("/")[0] == metric_names.LOSS:
                self._loss.set(value, tags={"part": part.partition("/")[2] or "sum"})
        self._step.set(done)
        now = time.monotonic()
        if self._before is not None and done > self._before[0]:
            self._seconds.set((now - self._before[1]) / (done - self._before[0]))
        self._before = done, now
