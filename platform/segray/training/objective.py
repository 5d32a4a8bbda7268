"""`Objective`: a method's training step, as the loop sees it.

A step is: `before_step` (the teacher moves), then for each piece of the worker's batches `prepare` (everything without
a gradient: teacher, SAM, refinement, mixing, strong views), then `count` over all pieces of all workers, then one call
of `module` per piece (student and criterion; what DDP wraps) whose losses are summed and driven down.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import nn
from typing_extensions import override

from segray.masks.instances import Instances
from segray.masks.semantic import Map
from segray.models.student import Student
from segray.training.augmentation.batch import Batch

Prepared = TypeVar("Prepared")


@dataclass(frozen=True, kw_only=True)
class RunPosition:
    """Where a run stands."""

    step: int
    """Updates done before this one."""
    steps: int
    """Of the whole run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PseudoLabelPair:
    """Instances that a method takes for true in one unlabeled image, in pixels of the canvas."""

    teacher: Instances
    """As the teacher gives them."""
    refined: Instances
    """As the student learns them."""


class EvaluatedNetworks:
    """A student that an evaluator measures, with its teachers and the labels that they give to unlabeled images."""

    student: Student
    """The network that is trained."""

    def teachers(self) -> Mapping[str, nn.Module]:
        """Return the modules beside the student that belong in a checkpoint, by name."""
        return {}

    def label(self, batch: Batch) -> Sequence[PseudoLabelPair]:
        """Return the instances that each canvas of the batch is taught; none if the method labels no instances."""
        del batch
        return ()

    def label_maps(self, batch: Batch) -> Sequence[Map]:
        """Return what each canvas's pixels are taught, 255 where nothing; none if the method makes no label maps."""
        del batch
        return ()

    @property
    def labels_images(self) -> bool:
        """Whether the method labels images by `label` or by `label_maps`."""
        cls = type(self)
        return cls.label is not EvaluatedNetworks.label or cls.label_maps is not EvaluatedNetworks.label_maps


@dataclass(frozen=True)
class NetworksOnly(EvaluatedNetworks):
    """A student, and maybe its teacher, without what their method has around them."""

    student: Student
    others: Mapping[str, nn.Module] = field(default_factory=dict)

    @override
    def teachers(self) -> Mapping[str, nn.Module]:
        return self.others


class Objective(EvaluatedNetworks, ABC, Generic[Prepared]):
    """One method's step. Built on every worker, on its device; knows nothing of workers.

    A method that learns from unlabeled images overrides `label` or `label_maps`: so its pseudo-labels are measured.
    """

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
