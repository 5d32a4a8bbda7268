"""What a forecast says of the cluster that a label job asks for: deadline, and memory of the head. Knows no YAML.

Measured: a part is 1.2 kB in the driver, an image that a listing holds 204 bytes. See docs/kubernetes.md.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from segray.config.label import StageJob
from segray.errors import ConfigError, SourceError
from segray.formats.folder import FolderSource
from segray.jobs.kubernetes.pools import GIB
from segray.storage import files

DEADLINE_MARGIN: Final = 1.1
"""A deadline is that much longer than the forecast, since a pool takes time to grow and to end."""
HEAD_BASE_GIB: Final = 3.0
"""Ray's own processes, the object store's part of the head, and the driver's code."""
BYTES_PER_PART: Final = 1_200
BYTES_PER_LISTED_FILE: Final = 204


@dataclass(frozen=True, kw_only=True)
class WorkForecast:
    """What a sampled run said of the images that remain."""

    images: int
    worker_hours: float

    @classmethod
    def read(cls, uri: str) -> "WorkForecast":
        """Read the summary that `segray label CONFIG sample=N` leaves below its store's `runs/`.

        Raises:
            ConfigError: it is no summary of a sampled run.
        """
        try:
            forecast = json.loads(files.read_bytes(uri))["forecast"]
            return cls(images=int(forecast["images"]), worker_hours=float(forecast["actor_hours"]))
        except (SourceError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"--forecast {uri}: give the summary of a run with sample = N, which has a forecast ({error!r})"
            ) from error

    def hours(self, job: StageJob) -> float:
        """Return how long the job takes with its largest pool."""
        return self.worker_hours / job.workers.most_workers

    def head_gib(self, job: StageJob) -> float:
        """Return the memory that the head needs for the plan."""
        parts = self.images / job.workers.images_per_part
        listed = self.images if isinstance(job.images, FolderSource) and files.scheme(job.images.uri) else 0
        return HEAD_BASE_GIB + (parts * BYTES_PER_PART + listed * BYTES_PER_LISTED_FILE) / GIB


def plan_problems(forecast: WorkForecast, job: StageJob, *, deadline_s: float, head_gib: float) -> Iterator[str]:
    """Say what of a cluster is too small for the work that a forecast expects."""
    needed_s = DEADLINE_MARGIN * forecast.hours(job) * 3600
    if needed_s > deadline_s:
        yield (
            f"the deadline of {deadline_s / 3600:.3g} h is below the forecast: {forecast.images:,} images take"
            f" {forecast.hours(job):.3g} h with {job.workers.most_workers} workers; give --deadline-hours"
            f" {needed_s / 3600:.3g}, or more workers"
        )
    if (needed := forecast.head_gib(job)) > head_gib:
        yield (
            f"the head's {head_gib:.3g} GiB are too small for the plan of {forecast.images:,} images: give"
            f" --head-memory-gib {needed:.3g}, or a Parquet manifest instead of a listed folder"
        )
