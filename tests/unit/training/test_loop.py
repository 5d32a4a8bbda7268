"""One step: counted over all pieces, clipped, and not made at all where it is no number."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from segray.config.schedule import Schedule
from segray.errors import TrainError
from segray.losses.criterion import Targets
from segray.masks.view import View
from segray.training.augmentation.batch import Batch
from segray.training.distributed import WorkerGroup
from segray.training.loop import Loop
from segray.training.objective import Objective, RunPosition

VIEW = View(image_hw=(1, 1), resized_hw=(1, 1), origin_yx=(0, 0), flipped=False, canvas_hw=(1, 1))
TARGETS = Targets(classes=torch.zeros(0, dtype=torch.int64), masks=torch.zeros(0, 1, 1, dtype=torch.bool))


def batch(*values: float) -> Batch:
    """Images of one pixel."""
    images = torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    number = len(values)
    return Batch(
        image_ids=("",) * number, keys=(0,) * number, images=images, views=(VIEW,) * number, targets=(TARGETS,) * number
    )


class Line(nn.Module):
    """weight * pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight * images[:, 0, 0, 0]

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        return iter(())


class Mean(nn.Module):
    """The mean of what the line gives for the global batch, and twice that of its square."""

    def __init__(self, student: Line) -> None:
        super().__init__()
        self.student = student

    def forward(self, labeled: Batch, count: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.student(labeled.images)
        return {"first": found.sum() / count[0], "second": 2 * found.square().sum() / count[0]}


class Means(Objective[Batch]):
    def __init__(self) -> None:
        self.student = Line()
        self.module = Mean(self.student)
        self.positions: list[RunPosition] = []
        self.unlabeled: list[int] = []

    def before_step(self, at: RunPosition) -> None:
        self.positions.append(at)

    def prepare(self, labeled: Batch, unlabeled: Batch | None) -> Batch:
        self.unlabeled.append(len(unlabeled) if unlabeled else 0)
        return labeled

    def count(self, prepared: Batch) -> torch.Tensor:
        return torch.tensor([float(len(prepared))])

    def figures(self) -> dict[str, tuple[float, float]]:
        return {"pieces": (float(len(self.unlabeled)), 2.0)}


SCHEDULE = Schedule(steps=5, decay="constant", learning_rate=0.1, clip_norm=1e6, weight_decay=0)


def loop_of(**changes: float) -> tuple[Loop, Means]:
    objective = Means()
    schedule = replace(SCHEDULE, **changes)
    loop = Loop(objective, schedule, WorkerGroup(device=torch.device("cpu")))
    loop.optimizer = torch.optim.SGD([{"params": list(objective.student.parameters()), "factor": 1.0}], lr=0.1)
    return loop, objective


# loss = w mean(x) + 2 w^2 mean(x^2) of pixels 1, 3, 0, 2: at w = 2 that is 3 + 28, with gradient 1.5 + 28.
PIXELS, FIRST, SECOND, GRADIENT = (1.0, 3.0, 0.0, 2.0), 3.0, 28.0, 29.5


@pytest.mark.parametrize("cuts", [[4], [2, 2], [1, 3], [1, 1, 1, 1]])
def test_pieces_are_parts_of_one_step(cuts):
    loop, objective = loop_of()
    rest = list(PIXELS)
    pieces = [(batch(*[rest.pop(0) for _ in range(number)]), None) for number in cuts]
    loop.advance(pieces, 3)
    assert float(objective.student.weight.detach()) == pytest.approx(2 - 0.1 * GRADIENT)
    assert objective.positions == [RunPosition(step=3, steps=5)]
    found = loop.metrics()
    assert found == pytest.approx(
        {"loss": FIRST + SECOND, "loss/first": FIRST, "loss/second": SECOND, "pieces": len(cuts) / 2}
    )


def test_the_gradient_is_clipped_as_a_whole():
    loop, objective = loop_of(clip_norm=0.5)
    loop.advance([(batch(1, 3), None), (batch(0, 2), None)], 0)
    assert float(objective.student.weight.detach()) == pytest.approx(2 - 0.1 * 0.5)


def test_metrics_are_means_since_the_last_look():
    loop, _ = loop_of(learning_rate=1e-9)
    for pixel in (1.0, 3.0):
        loop.advance([(batch(pixel), batch(0, 0))], 0)
    assert loop.metrics()["loss/first"] == pytest.approx(2 * (1 + 3) / 2)
    loop.advance([(batch(5), None)], 2)
    assert loop.metrics()["loss/first"] == pytest.approx(10)


@pytest.mark.parametrize("pixel", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_number_ends_the_run_before_it_updates_anything(pixel, place):
    loop, objective = loop_of()
    loop.advance([(batch(1), None)], 0)
    before = {name: value.clone() for name, value in objective.student.state_dict().items()}
    pieces = [(batch(1), None), (batch(1), None)]
    pieces[place] = (batch(pixel), None)
    with pytest.raises(TrainError, match=r"not finite at step 1 .*schedule\.learning_rate"):
        loop.advance(pieces, 1)
    assert all(torch.equal(value, before[name]) for name, value in objective.student.state_dict().items())
