"""The same global batch gives the same losses and weights, on any number of workers and pieces.

Updates are SGD's here, which are linear in the gradient: AdamW makes whole steps of the rounding of gradients that are
nought (the bias of attention's keys), in directions that no loss sees.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch import Tensor
from typing_extensions import override

from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.methods.s4m.refine.refiner import RefinedLabels, Refiner
from segray.training.augmentation.batch import Batch
from segray.training.distributed import WorkerGroup
from segray.training.loader import StepLoader
from segray.training.loop import Loop

STEPS = 3
LABELS = ("labeled_batch=4", "learning_rate=0.01", "decay='constant'")
BATCHES = (*LABELS, "unlabeled_batch=8")
CASES = {
    "supervised": ("supervised", "student", [f"method.schedule.{one}" for one in LABELS]),
    "teacher": ("s4m", "teacher", [f"method.teacher.schedule.{one}" for one in LABELS]),
    **{
        f"student, {labels} labels": ("s4m", "student", [f"method.student.schedule.{one}" for one in BATCHES])
        for labels in ("all", "some", "no")
    },
}
UNIMATCH = [*(f"method.schedule.{one}" for one in BATCHES), "method.ema_half_life=4.0"]
CASES |= {
    f"unimatch {which}": ("unimatch", "student", [*UNIMATCH, f"method.streams={which}"]) for which in ("v1", "v2")
}
BOUNDS = {"student, some labels": 1 << 62, "student, no labels": 0}
"""Keys below which an unlabeled image keeps its labels."""
CUTS = {"whole": (1, 1), "two pieces": (1, 2), "two workers": (2, 1)}


class OfSome(Refiner):
    """Leaves labels on the images whose key is below a bound."""

    def __init__(self, inner: Refiner, bound: int) -> None:
        self.inner, self.bound = inner, bound

    @override
    def refine(self, batch: Batch, predictions: Sequence[TeacherPredictions]) -> list[RefinedLabels]:
        left = [
            one.filter(torch.full((len(one),), key < self.bound))
            for one, key in zip(predictions, batch.keys, strict=True)
        ]
        return self.inner.refine(batch, left)


class Noting(torch.optim.SGD):
    """Notes what an update finds no gradient of."""

    def __init__(self, named: dict[str, torch.nn.Parameter]) -> None:
        super().__init__([{"params": list(named.values()), "factor": 1.0}], lr=0.0)
        self.named, self.without = named, set[str]()

    @override
    def step(self, closure: Any = None) -> None:
        self.without |= {name for name, parameter in self.named.items() if parameter.grad is None}
        super().step(closure)


def train(made: Any, case: str, accumulate: int, group: WorkerGroup, out: Path) -> None:
    """A few steps, and what they led to as files."""
    schedule = replace(made.plan.schedule, accumulate=accumulate, steps=STEPS)
    objective = made.objective()
    if case in BOUNDS:
        objective.refiner = OfSome(objective.refiner, BOUNDS[case])
    loop = Loop(objective, schedule, group)
    trained = {name: one for name, one in objective.student.named_parameters() if one.requires_grad}
    noting = Noting(trained)
    loop.optimizer = noting
    loader = StepLoader(
        made.rows["labeled"],
        made.rows["unlabeled"] if made.plan.unlabeled else None,
        made.config.view,
        schedule,
        seed=made.config.seed,
        rank=group.rank,
        world=group.world,
    )
    figures = []
    for step, pieces in enumerate(loader):
        loop.advance(pieces, step)
        figures.append(loop.metrics())
    if group.leads:
        out.with_suffix(".json").write_text(json.dumps({"figures": figures, "without": sorted(noting.without)}))
        state = {**objective.student.state_dict(prefix="student."), **_teacher(objective)}
        save_file({name: value.contiguous() for name, value in state.items()}, out.with_suffix(".safetensors"))


def _teacher(objective: Any) -> dict[str, Tensor]:
    teachers = objective.teachers()
    return teachers["teacher"].state_dict(prefix="teacher.") if teachers else {}


def worker(rank: int, world: int, made: dict[str, Any], out: Path) -> None:
    """One of the workers: all cases, one after the other."""
    torch.set_num_threads(1)
    method = f"file://{out / 'meeting'}"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=world, timeout=timedelta(seconds=60))
    group = WorkerGroup(device=torch.device("cpu"), rank=rank, world=world)
    for case, one in made.items():
        train(one, case, 1, group, out / f"{case}, two workers")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """Where all cases, cut in all ways, have left what they led to."""
    out = tmp_path_factory.mktemp("trained")
    # Rounding decides which of nearly equal points are the most uncertain, by whose differences losses would jump.
    flat = ["student.importance_sample_ratio=0.0"]
    made = {
        case: tiny(method, run, *(flat if method != "unimatch" else []), *overrides)
        for case, (method, run, overrides) in CASES.items()
    }
    alone = WorkerGroup(device=torch.device("cpu"))
    for case, one in made.items():
        for cut in ("whole", "two pieces"):
            train(one, case, CUTS[cut][1], alone, out / f"{case}, {cut}")
    mp.spawn(worker, (2, made, out), nprocs=2)
    return out


def read(trained: Path, case: str, cut: str) -> tuple[Any, dict[str, Tensor]]:
    path = trained / f"{case}, {cut}"
    return json.loads(path.with_suffix(".json").read_text()), load_file(path.with_suffix(".safetensors"))


@pytest.mark.parametrize("cut", list(CUTS)[1:])
@pytest.mark.parametrize("case", CASES)
def test_same_losses_figures_and_weights(trained, case, cut):
    (whole, weights), (other, others) = read(trained, case, "whole"), read(trained, case, cut)
    for step in range(STEPS):
        assert other["figures"][step] == pytest.approx(whole["figures"][step], rel=2e-5, abs=1e-6), step
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(
            others[name], value, rtol=1e-4, atol=5e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gets_a_gradient(trained, case, cut):
    assert read(trained, case, cut)[0]["without"] == []


@pytest.mark.parametrize(("labels", "share"), [("all", (0.75, 1)), ("some", (0.1, 0.9)), ("no", (0, 0))])
def test_there_are_as_many_labels_as_the_case_says(trained, labels, share):
    shares = [one["images_labeled"] for one in read(trained, f"student, {labels} labels", "whole")[0]["figures"]]
    assert all(share[0] <= one <= share[1] for one in shares)


def test_weights_have_moved(trained):
    """Or the comparisons above would compare what was never trained."""
    losses = [one["loss"] for one in read(trained, "supervised", "whole")[0]["figures"]]
    assert len(set(losses)) == STEPS
