"""What a report says of a store's rows: gathered in one pass, in memory that does not grow with them.

Knows rows; knows no pixels and no file.
"""

import hashlib
import heapq
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from segray.masks.instances import Instances
from segray.pages.charts import StreamingHistogram
from segray.store.rows import LabeledRow

EXAMPLES_PER_REASON = 20
"""Refused images that are kept, of each reason; all are counted."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One image that was not labeled."""

    image_id: str
    detail: str


@dataclass(kw_only=True)
class ClassFindings:
    """What was found of one class."""

    images: int = 0
    masks: int = 0
    pixels: int = 0
    scores: float = 0.0
    """Their sum."""


@dataclass(kw_only=True)
class Findings:
    """What one pass over the rows gathers."""

    sample: int
    seed: int
    images: int = 0
    masks: int = 0
    pixels: int = 0
    """Of labeled images."""
    seconds: float = 0.0
    classes: dict[int, ClassFindings] = field(default_factory=dict)
    """By class id."""
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Refusal]] = field(default_factory=dict)
    scores: StreamingHistogram = field(default_factory=lambda: StreamingHistogram(0.001, low=0, high=1))
    stabilities: StreamingHistogram = field(default_factory=lambda: StreamingHistogram(0.001, low=0, high=1))
    log_shares: StreamingHistogram = field(default_factory=lambda: StreamingHistogram(0.01, low=-9, high=0))
    per_image: StreamingHistogram = field(default_factory=lambda: StreamingHistogram(1, low=0))
    _chosen: list[tuple[int, str, int, LabeledRow]] = field(default_factory=list)

    @property
    def labeled(self) -> int:
        """Images with masks, or found to have none."""
        return self.images - self.refused.total()

    def add(self, row: LabeledRow) -> None:
        """Take one row in."""
        self.images += 1
        self.seconds += row.seconds
        if row.instances is None:
            self._refuse(row)
        else:
            self._measure(row.instances)
            self._choose(row, row.instances)

    def chosen(self) -> list[LabeledRow]:
        """The sample, by image id. Which images are in it depends on their ids and the seed, not on their order."""
        return [row for *_, row in sorted(self._chosen, key=lambda one: one[1])]

    def _refuse(self, row: LabeledRow) -> None:
        reason = row.error or "unknown"
        self.refused[reason] += 1
        listed = self.examples.setdefault(reason, [])
        if len(listed) < EXAMPLES_PER_REASON:
            listed.append(Refusal(image_id=row.image.image_id, detail=row.detail or ""))

    def _measure(self, instances: Instances) -> None:
        self.masks += len(instances)
        self.pixels += instances.size_hw[0] * instances.size_hw[1]
        for class_id in np.unique(instances.classes).tolist():
            own, found = instances.classes == class_id, self.classes.setdefault(class_id, ClassFindings())
            found.images += 1
            found.masks += int(own.sum())
            found.pixels += int(instances.areas[own].sum())
            found.scores += float(instances.scores[own].sum())
        self.per_image.add([len(instances)])
        self.scores.add(instances.scores)
        self.stabilities.add(instances.stabilities)
        areas = instances.areas[instances.areas > 0]
        self.log_shares.add(np.log10(areas / max(1, instances.size_hw[0] * instances.size_hw[1])))

    def _choose(self, row: LabeledRow, instances: Instances) -> None:
        text = f"{self.seed}\0{row.image.image_id}".encode(errors="surrogatepass")
        rank = -int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
        if self.sample and (len(self._chosen) < self.sample or rank > self._chosen[0][0]):
            # A copy of the columns: views would keep the whole batch that the row was read with.
            kept = replace(row, instances=instances.filter(np.arange(len(instances))))
            push = heapq.heappush if len(self._chosen) < self.sample else heapq.heapreplace
            push(self._chosen, (rank, row.image.image_id, self.images, kept))
