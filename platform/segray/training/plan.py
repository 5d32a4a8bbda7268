"""`RunPlan`: one training of a method, as the runner sees it. Methods make them; nothing here knows a method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from segray.config.schedule import Schedule
from segray.config.train import TrainSettings
from segray.datasets.training_rows import TrainingRows
from segray.training.objective import EvaluatedNetworks, Objective
from segray.training.reports.panels import Panel


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a run is built from, on each worker."""

    config: TrainSettings
    classes: tuple[str, ...]
    """Of the labeled images."""
    device: torch.device
    parents: Mapping[str, str]
    """Folder of the student of each run that this one builds on, by the run's name."""


class Evaluator(Protocol):
    """Measures an objective's student; sharded over the workers, so that each sees its part of the images."""

    metric: str
    """Which of the results says which student is best."""

    def shard(self, measured: EvaluatedNetworks, *, rank: int, world: int, final: bool) -> Any:
        """What this worker's part of the images gives; picklable. `final` measures all that can be measured."""
        ...

    def result(self, shards: Sequence[Any]) -> Mapping[str, float]:
        """All parts' together: named figures, without what there was nothing to measure on."""
        ...

    def panels(self, measured: EvaluatedNetworks, number: int) -> list[Panel]:
        """Some images to look at."""
        ...


@dataclass(frozen=True, kw_only=True)
class EvaluationRows:
    """What there is to measure on."""

    validation: TrainingRows | None
    hidden: TrainingRows | None
    """True masks of unlabeled images."""


def _no_check(_: Mapping[str, TrainingRows]) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One training: an objective, a schedule, and what its result depends on."""

    method: str
    name: str
    """The run's own name within the method."""
    schedule: Schedule
    settings: Mapping[str, Any]
    """What of the method's config decides this run's result, as plain values."""
    objective: Callable[[RunContext], Objective[Any]]
    """Builds the objective on a worker; picklable."""
    evaluator: Callable[[RunContext, EvaluationRows], Evaluator | None]
    """Builds what measures it; picklable. None where there are no images to measure on."""
    unlabeled: bool = False
    """Whether it learns from the unlabeled images."""
    parents: tuple[str, ...] = ()
    """Names of earlier runs of the method whose students it builds on."""
    check: Callable[[Mapping[str, TrainingRows]], None] = _no_check
    """Looks at the rows by role before anything is spent; raises TrainError where the run cannot use them."""
