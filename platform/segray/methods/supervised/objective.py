"""Supervised: the student on labels alone, what every other method is compared with.

One run; L = L_M2F(labeled). Labeled images get the weak view, as in the semi-supervised methods
(docs/methods/guided-distillation.md#weak-view).
"""

from collections.abc import Sequence

import torch
from torch import nn
from typing_extensions import override

from segray.evaluation.build import evaluator
from segray.methods.config import TrainConfig
from segray.methods.supervised.config import Supervised
from segray.models.build import build_student
from segray.models.student import Student
from segray.training.augmentation.batch import Batch
from segray.training.objective import Objective
from segray.training.plan import RunContext, RunPlan


def plans(_: TrainConfig, method: Supervised) -> Sequence[RunPlan]:
    """One run."""
    return [
        RunPlan(
            method="supervised",
            name="student",
            schedule=method.schedule,
            settings={},
            objective=SupervisedObjective.build,
            evaluator=evaluator,
        )
    ]


class SupervisedStep(nn.Module):
    """What DDP wraps: the student and its loss on labels."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    @override
    def forward(self, labeled: Batch, count: torch.Tensor) -> dict[str, torch.Tensor]:
        """Named losses."""
        output = self.student(labeled.images)
        return dict(self.student.criterion(output, labeled.targets, keys=labeled.keys, count=count))


class SupervisedObjective(Objective[Batch]):
    """Labels only."""

    def __init__(self, student: Student) -> None:
        self.student = student
        self.module = SupervisedStep(student)

    @classmethod
    def build(cls, context: RunContext) -> "SupervisedObjective":
        """A fresh student."""
        config = context.config
        student = build_student(config.student, context.classes, seed=config.seed)
        return cls(student.to(context.device))

    @override
    def prepare(self, labeled: Batch, unlabeled: Batch | None) -> Batch:
        return labeled

    @override
    def count(self, prepared: Batch) -> torch.Tensor:
        return self.student.criterion.count(prepared.targets)
