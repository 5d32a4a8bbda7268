"""What a label run did, what it took, what it cost, and what the rest would: plain numbers, for people and as JSON."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from segray.config.label import Cost, LabelWorkers
from segray.errors import LabelError
from segray.labels import attempts, labeler
from segray.tally import Reason, Tally

FAILURES: Final = (labeler.FAILED, attempts.REASON)
"""Errors of images at which code failed, not the image's reader."""
FEW_FAILURES: Final = 100
"""Fewer failures say nothing of the rest."""


@dataclass(frozen=True, kw_only=True)
class PartCounts:
    """What one committed part adds."""

    images: int
    masks: int
    refused: Mapping[str, int]
    """Images by reason."""
    seconds: float
    """Of one actor."""
    squares: float
    """Sum of the squared seconds per image, for the spread."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Objects without a mask by reason."""
    for_review: Mapping[str, int] = field(default_factory=dict)
    """Masks that a person should look at by reason."""


@dataclass(kw_only=True)
class LabelTally:
    """Grows part by part while a job runs."""

    images: int = 0
    masks: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    for_review: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    squares: float = 0.0

    def add(self, part: PartCounts) -> None:
        """Count a part in."""
        self.images += part.images
        self.masks += part.masks
        self.refused.update(part.refused)
        self.left_out.update(part.left_out)
        self.for_review.update(part.for_review)
        self.seconds += part.seconds
        self.squares += part.squares

    def check(self) -> None:
        """See that images are labeled at all: code that fails at most of them will fail at the rest.

        Raises:
            LabelError: at least `FEW_FAILURES` images, and more than half of those so far, failed by no fault that is
                known of images.
        """
        failed = sum(self.refused[reason] for reason in FAILURES)
        if failed >= FEW_FAILURES and 2 * failed > self.images:
            raise LabelError(
                f"{failed} of the first {self.images} images failed, which is hardly the images' fault: the report of"
                " the store (`segray report`) says what was raised. Mend it, and run the job again with retry_refused ="
                " true"
            )

    def objects(self) -> Tally:
        """Return what became of objects; nothing where all got a mask that nobody needs to look at."""
        found = Tally()
        if self.left_out or self.for_review:
            found.use("objects", self.masks)
        for reason, number in self.left_out.items():
            found.leave_out("objects", Reason(reason, reason, is_damage=True), number=number)
        for reason, number in self.for_review.items():
            found.note("objects", Reason(reason, f"are for review: {reason}"), number=number)
        return found


def price(actor_s: float, workers: LabelWorkers, cost: Cost) -> float:
    """What actors' working time costs: GPU share times time, whole actors where no GPU is used; 0 without a price."""
    return actor_s / 3600 * (workers.gpus or 1) * (cost.per_gpu_hour or 0)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What the images that were not sampled would take, with half the width of a 95 % interval on each figure."""

    images: int
    actor_hours: float
    actor_hours_error: float
    gpu_hours: float
    wall_hours: float
    """With the largest pool of the config."""
    cost: float | None
    cost_error: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The end of a label run."""

    store: str
    outcome: str
    """complete, sample, or budget."""
    images: int
    """Images this run labeled or refused; those known before are in `known`."""
    known: int
    masks: int
    refused: Mapping[str, int]
    """Images by reason."""
    startup_s: float
    """Until the first part was committed, less that part's own work: cluster, actors, models."""
    wall_s: float
    images_per_s: float
    """In steady state: start-up left out."""
    actor_s_per_image: float
    gpu_s_per_image: float
    cost: float | None
    cost_per_1000: float | None
    store_refused_share: float
    """Refused images of all that the store holds, whoever labeled them."""
    forecast: Forecast | None = None
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    """What was read, by the key of the config that names it, and what of it was left out and why."""

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return {**asdict(self), "tallies": {name: one.to_json() for name, one in self.tallies.items()}}


def summarize(
    tally: LabelTally,
    *,
    store: str,
    outcome: str,
    known: int,
    remaining: int,
    startup_s: float,
    wall_s: float,
    store_refused_share: float,
    workers: LabelWorkers,
    cost: Cost,
) -> Summary:
    """The tally at the end; a sampled run also says what the remaining images would take."""
    per_image = tally.seconds / tally.images if tally.images else 0.0
    spent = price(tally.seconds, workers, cost) if cost.per_gpu_hour else None
    steady = wall_s - startup_s
    return Summary(
        store=store,
        outcome=outcome,
        images=tally.images,
        known=known,
        masks=tally.masks,
        refused=dict(tally.refused),
        startup_s=startup_s,
        wall_s=wall_s,
        images_per_s=tally.images / steady if tally.images and steady > 0 else 0.0,
        actor_s_per_image=per_image,
        gpu_s_per_image=per_image * workers.gpus,
        cost=spent,
        store_refused_share=store_refused_share,
        cost_per_1000=spent / tally.images * 1000 if spent is not None and tally.images else None,
        tallies={"objects": objects} if (objects := tally.objects()).kinds else {},
        forecast=_forecast(tally, remaining, workers, cost) if outcome == "sample" and tally.images else None,
    )


def _forecast(tally: LabelTally, remaining: int, workers: LabelWorkers, cost: Cost) -> Forecast:
    mean = tally.seconds / tally.images
    variance = max(tally.squares / tally.images - mean**2, 0.0)
    # Seconds are shared evenly within an encoder batch, so the batches, not the images, are the independent draws.
    error = 1.96 * math.sqrt(variance * workers.images_per_batch / tally.images)
    hours, hours_error = mean * remaining / 3600, error * remaining / 3600
    price = (workers.gpus or 1) * cost.per_gpu_hour if cost.per_gpu_hour else None
    return Forecast(
        images=remaining,
        actor_hours=hours,
        actor_hours_error=hours_error,
        gpu_hours=hours * workers.gpus,
        wall_hours=hours / workers.most_workers,
        cost=hours * price if price is not None else None,
        cost_error=hours_error * price if price is not None else None,
    )
