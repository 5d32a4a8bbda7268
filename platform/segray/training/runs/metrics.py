"""What a run measures on the way: `metrics.jsonl` in its folder.

One JSON object per line: `kind` (train, evaluate, ...), `step` (updates done), `time` (seconds since 1970) and named
figures, null where a figure is no number. Knows files; knows no method, no model and no service.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segray.storage import files

METRICS = "metrics.jsonl"
_LINES_PER_PUT = 50
"""Object stores cannot append: there the file is put anew for so many lines, and whenever `flush` is called."""


class MetricsLog:
    """Appends to a run's metrics. One per run: the leading worker's."""

    def __init__(self, run: str, *, resume_step: int) -> None:
        """`resume_step`: updates already done; lines beyond it belong to what is done again, and go."""
        self._uri = files.join(run, METRICS)
        self._lines = [json.dumps(one) for one in read_metrics(run) if one["step"] <= resume_step]
        self._unwritten = 0
        self._local = Path(files.absolute(self._uri)) if files.scheme(self._uri) == "" else None
        self._put()

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """One line, after `step` updates."""
        figures = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"kind": kind, "step": step, "time": round(time.time(), 3)} | figures)
        if self._local is not None:
            with self._local.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            return
        self._lines.append(line)
        self._unwritten += 1
        if self._unwritten >= _LINES_PER_PUT:
            self.flush()

    def flush(self) -> None:
        """What was written is safe when this returns; call it before a checkpoint says that its steps are done."""
        if self._unwritten:
            self._put()

    def _put(self) -> None:
        files.write_bytes_atomic(self._uri, "".join(f"{line}\n" for line in self._lines).encode())
        self._unwritten = 0


def read_metrics(run: str) -> list[dict[str, Any]]:
    """A run's lines by step; the later of two of one kind and step counts, half a line (the writer died) does not.

    Raises:
        SourceError: the folder cannot be read; a run without metrics has none.
    """
    uri = files.join(run, METRICS)
    if not files.exists(uri):
        return []
    found = {}
    for line in files.read_bytes(uri).decode(errors="replace").splitlines():
        try:
            one = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(one, dict) and isinstance(one.get("step"), int) and isinstance(one.get("kind"), str):
            found[one["kind"], one["step"]] = one
    return sorted(found.values(), key=lambda one: int(one["step"]))


def series(lines: Sequence[Mapping[str, Any]], kind: str) -> dict[str, list[tuple[int, float]]]:
    """The figures of one kind of line, by name: (step, value), where there is a value."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        if line["kind"] == kind:
            for name, value in line.items():
                if name not in ("kind", "step", "time") and isinstance(value, int | float):
                    found.setdefault(name, []).append((line["step"], float(value)))
    return found
