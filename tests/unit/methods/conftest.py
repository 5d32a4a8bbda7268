"""The parts of a tiny training, as a worker would build them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from segray.job_configs import load_as
from segray.jobs.train import prepare_rows
from segray.methods import plans
from segray.methods.config import TrainConfig
from segray.models.build import build_student
from segray.models.package import save_student
from segray.testing import write_training
from segray.training.objective import Objective
from segray.training.plan import RunContext, RunPlan


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A run of a method before its first step."""

    config: TrainConfig
    plan: RunPlan
    context: RunContext
    rows: Mapping[str, Any]

    def objective(self) -> Objective[Any]:
        return self.plan.objective(self.context)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Callable[..., Tiny]:
    """`tiny(method, run, *overrides)`; what a run builds on has random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    paths: dict[str, Path] = {}

    def make(method: str, run: str, *overrides: str) -> Tiny:
        if method not in paths:
            (folder / method).mkdir()
            paths[method] = write_training(folder / method, method)
        config = load_as(TrainConfig, paths[method], overrides)
        rows = {role: one.rows for role, one in prepare_rows(config).items()}
        teacher = str(folder / method / "teacher")
        save_student(build_student(config.student, rows["labeled"].classes, seed=7), teacher, info={})
        context = RunContext(
            config=config,
            classes=rows["labeled"].classes,
            device=torch.device("cpu"),
            parents={"teacher": teacher, "labeler": teacher},
        )
        plan = next(one for one in plans(config) if one.name == run)
        return Tiny(config=config, plan=plan, context=context, rows=rows)

    return make
