import pytest
import torch
from torch import nn

from segray.evidence.fitting import FitPlan, fit

PLAN = FitPlan(steps=6, learning_rate=0.1)


class KilledError(Exception):
    pass


def fitted(path, *stops):
    """A line fitted to points that hang on the step; ended before each of the given numbers of updates."""
    for stop in (*stops, None):
        torch.manual_seed(0)
        line = nn.Linear(1, 1)

        def loss(step, line=line, stop=stop):
            if step == stop:
                raise KilledError
            x = torch.randn(8, 1, generator=torch.Generator().manual_seed(step))
            return (line(x) - 3 * x - 1).square().mean()

        try:
            fit(line, loss, PLAN, path, save_seconds=0.0)
        except KilledError:
            continue
    return line


def test_a_training_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    whole, stopped = fitted(tmp_path / "whole"), fitted(tmp_path / "stopped", 1, 4)
    assert torch.equal(whole.weight, stopped.weight)
    assert torch.equal(whole.bias, stopped.bias)


def test_it_learns_and_is_over_when_it_is_over(tmp_path):
    line = fitted(tmp_path / "line")
    assert (line.weight - 3).abs() < 2.9
    again = nn.Linear(1, 1)
    fit(again, pytest.fail, PLAN, tmp_path / "line")
    assert torch.equal(again.weight, line.weight)
    assert not again.training
