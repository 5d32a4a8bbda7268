"""The teacher before, at and after the end of burn-in: unchanged, the student, the student's average."""

import pytest
import torch
from torch import nn

from segray.config.schedule import Ema
from segray.training.ema import burn_in_steps, decay, freeze_weights, update_teacher, weight_distance
from segray.training.objective import RunPosition

STEPS = 10


class Toy(nn.Module):
    """Two parameters and a buffer of each sort."""

    def __init__(self, value: float, count: int = 0) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor([value]))
        self.second = nn.Parameter(torch.tensor([[2 * value, -value]]))
        self.register_buffer("mean", torch.tensor(value))
        self.register_buffer("count", torch.tensor(count))

    def values(self) -> torch.Tensor:
        return torch.cat([self.first.flatten(), self.second.flatten(), self.mean.flatten()])


def student_at(step: int) -> Toy:
    return Toy(float(step * step - 3), count=step)


def followed(settings: Ema, until: int) -> Toy:
    """The teacher before the update after `until` updates."""
    teacher = freeze_weights(Toy(100.0, count=-1))
    for step in range(until + 1):
        update_teacher(teacher, student_at(step), settings, RunPosition(step=step, steps=STEPS))
    return teacher


def closed_form(first: int, last: int, keep: float) -> torch.Tensor:
    """keep^n s_first + (1 - keep) sum of keep^(last - i) s_i."""
    value = keep ** (last - first) * student_at(first).values()
    return value + (1 - keep) * sum(
        (keep ** (last - step) * student_at(step).values() for step in range(first + 1, last + 1)),
        torch.zeros(4),
    )


@pytest.mark.parametrize("until", [0, 3])
def test_before_burn_in_ends_the_teacher_stays_as_it_came(until):
    teacher = followed(Ema(burn_in=0.4, half_life=2), until)
    assert torch.equal(teacher.values(), Toy(100.0).values())
    assert teacher.count == -1


@pytest.mark.parametrize(("burn_in", "at"), [(0.4, 4), (0.0, 0), (0.26, 3)])
def test_at_its_end_it_is_the_student(burn_in, at):
    teacher = followed(Ema(burn_in=burn_in, half_life=2), at)
    assert torch.equal(teacher.values(), student_at(at).values())
    assert teacher.count == at


@pytest.mark.parametrize(("burn_in", "first"), [(0.4, 4), (0.0, 0)])
@pytest.mark.parametrize("half_life", [0.5, 3.0])
def test_after_it_it_is_the_average(burn_in, first, half_life):
    teacher = followed(Ema(burn_in=burn_in, half_life=half_life), 9)
    torch.testing.assert_close(teacher.values(), closed_form(first, 9, 0.5 ** (1 / half_life)))
    assert teacher.count == 9


def test_burn_in_of_a_whole_run_never_ends():
    assert torch.equal(followed(Ema(burn_in=1, half_life=2), STEPS - 1).values(), Toy(100.0).values())


def test_the_papers_numbers():
    assert burn_in_steps(Ema(), 90_000) == 15_000
    assert decay(Ema().half_life) == pytest.approx(0.9996, abs=1e-7)


def test_the_student_is_left_alone_and_shares_nothing_with_the_teacher():
    teacher, student = freeze_weights(Toy(100.0)), student_at(5)
    update_teacher(teacher, student, Ema(burn_in=0, half_life=2), RunPosition(step=0, steps=STEPS))
    with torch.no_grad():
        student.first.add_(1)
    assert torch.equal(teacher.values(), student_at(5).values())
    assert student.first.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_distance_is_relative_to_the_student():
    student, teacher = Toy(1.0), Toy(3.0)
    assert weight_distance(teacher, student) == pytest.approx(2.0)
    assert weight_distance(student, student) == 0
