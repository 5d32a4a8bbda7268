"""`RunFolder`: what a run leaves, and where.

<runs>/<method>-<run>-<fingerprint>/
  run.json        what decides the result, the whole config, parents, data
  metrics.jsonl   one line per log or evaluation
  checkpoints/    what is needed to go on
  best/, last/    student packages (segray.models.package); best/teacher/ and last/teacher/ where there is a teacher
  panels/         images to look at
  finished.json   the end: metrics of best and last student, what they were measured on, time
  lease.json      who trains it now

Knows names and files; no training.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyarrow import fs

from segray.config.types import NetworkName
from segray.models.package import teacher_beside
from segray.storage import files, lease
from segray.training.reports.panels import Panel, write_panels

RUN, FINISHED = "run.json", "finished.json"


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run's folder; it need not exist yet."""

    runs: str
    """The folder that it lies in."""
    name: str

    @property
    def uri(self) -> str:
        """Where it is."""
        return files.join(self.runs, self.name)

    def student(self, which: str, network: NetworkName = "student") -> str:
        """The package of the `best` or `last` student, or of the teacher beside it."""
        folder = files.join(self.uri, which)
        return folder if network == "student" else teacher_beside(folder)

    def lease(self) -> lease.Lease:
        """For whoever writes into it; makes the folder. Entering raises StoreError where another holds it."""
        system, path = files.filesystem(self.uri)
        system.create_dir(path, recursive=True)
        return lease.Lease(self.uri, "train")

    def begin(self, record: Mapping[str, Any]) -> None:
        """Write run.json, unless the run has begun before."""
        uri = files.join(self.uri, RUN)
        if not files.exists(uri):
            begun = {**record, "created": datetime.now(UTC).isoformat(timespec="seconds")}
            files.write_bytes_atomic(uri, json.dumps(begun, indent=1).encode())

    def finish(
        self,
        *,
        step: int,
        seconds: float,
        best: Mapping[str, float] | None,
        last: Mapping[str, float],
        panels: Sequence[Panel],
        measured: str,
        metric: str | None,
        network: NetworkName,
    ) -> None:
        """Write the panels, then finished.json: the run is complete.

        `metric` is the figure that best is best by, `network` the network that it is of.
        """
        write_panels(self.uri, panels)
        end = {
            "step": step,
            "seconds": seconds,
            "best": best,
            "last": last,
            "measured": measured,
            "metric": metric,
            "network": network,
        }
        files.write_bytes_atomic(files.join(self.uri, FINISHED), json.dumps(end, indent=1).encode())

    @property
    def finished(self) -> dict[str, Any] | None:
        """What finished.json says; None where the run has not come to its end."""
        uri = files.join(self.uri, FINISHED)
        return dict(json.loads(files.read_bytes(uri))) if files.exists(uri) else None

    def remove(self) -> None:
        """All but its lease, the end first: half a removed run must not look finished."""
        if not files.exists(self.uri):
            return
        system, path = files.filesystem(self.uri)
        if self.finished is not None:
            system.delete_file(f"{path}/{FINISHED}")
        for info in system.get_file_info(fs.FileSelector(path)):
            if info.type == fs.FileType.Directory:
                system.delete_dir(info.path)
            elif info.base_name not in lease.FILES:
                system.delete_file(info.path)
