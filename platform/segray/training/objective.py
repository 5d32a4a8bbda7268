"""`Objective`: a method's training step, as the loop sees it.

A step is: `before_step` (the teacher moves), then for each piece of the worker's batches `prepare` (everything without
a gradient: teacher, SAM, refinement, mixing, strong views), then `count` over all pieces of all workers, then one call
of `module` per piece (student and criterion; what DDP wraps) whose losses are summed and driven down.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import nn

from segray.models.student import Student
from segray.training.views.batch import Batch

Prepared = TypeVar("Prepared")


@dataclass(frozen=True, kw_only=True)
class RunPosition:
    """Where a run stands."""

    step: int
    """Updates done before this one."""
    steps: int
    """Of the whole run."""


class Objective(ABC, Generic[Prepared]):
    """One method's step. Built on every worker, on its device; knows nothing of workers."""

    student: Student
    """What is trained."""
    module: nn.Module
    """`module(prepared, count) -> dict of scalar losses`; holds the student and its criterion, and no other weights.

    All forwards of a piece happen in one call of it, or DDP would not see them.
    """

    def before_step(self, at: RunPosition) -> None:
        """What happens between updates: the teacher follows."""

    @abstractmethod
    def prepare(self, labeled: Batch, unlabeled: Batch | None) -> Prepared:
        """Everything of a piece that needs no gradient."""

    @abstractmethod
    def count(self, prepared: Prepared) -> torch.Tensor:
        """What the losses of a piece divide by, (M,), additive over pieces (`Criterion.count`)."""

    def figures(self) -> Mapping[str, tuple[float, float]]:
        """How often the method's components acted since the last call: name -> (sum, number), additive over workers."""
        return {}

    def teachers(self) -> Mapping[str, nn.Module]:
        """Modules beside the student that belong in a checkpoint, by name."""
        return {}
