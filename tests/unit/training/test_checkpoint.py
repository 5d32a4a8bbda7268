"""Checkpoints come back as they were saved, or not at all."""

from pathlib import Path

import pytest
import torch
from torch import nn

from segray.errors import TrainError
from segray.training import checkpoint

CPU = torch.device("cpu")


class Parts:
    """A module that has learned a little, its teacher and its optimizer."""

    def __init__(self, *, width: int = 3, updates: int = 0) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(updates)
            self.modules = {"student": nn.Linear(width, 2), "teacher": nn.Linear(width, 2)}
        self.optimizer = torch.optim.AdamW(self.modules["student"].parameters())
        for _ in range(updates):
            self.update()

    def update(self) -> None:
        student = self.modules["student"]
        student(torch.ones(student.in_features)).square().sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state(self) -> list[torch.Tensor]:
        moments = [value for one in self.optimizer.state_dict()["state"].values() for value in one.values()]
        return [value for module in self.modules.values() for value in module.state_dict().values()] + moments

    def save(self, run: Path, step: int) -> None:
        checkpoint.save(
            str(run),
            step=step,
            seconds=1.5,
            best={"ap": 0.25},
            measured="here",
            modules=self.modules,
            optimizer=self.optimizer,
        )

    def load(self, run: Path) -> None:
        newest = checkpoint.find(str(run))[0]
        checkpoint.load(newest, modules=self.modules, optimizer=self.optimizer, device=CPU)


def test_what_was_saved_comes_back_and_goes_on_the_same(tmp_path):
    saved, loaded = Parts(updates=3), Parts()
    saved.save(tmp_path, 3)
    loaded.load(tmp_path)
    for _ in range(2):
        assert len(saved.state()) == len(loaded.state())
        assert all(torch.equal(one, other) for one, other in zip(saved.state(), loaded.state(), strict=True))
        saved.update()
        loaded.update()


def test_newest_first_and_two_are_kept(tmp_path):
    for step in (2, 4, 6, 10):
        Parts().save(tmp_path, step)
    found = checkpoint.find(str(tmp_path))
    assert [(one.step, one.seconds, one.best) for one in found] == [(10, 1.5, {"ap": 0.25}), (6, 1.5, {"ap": 0.25})]
    assert sorted(one.name for one in (tmp_path / "checkpoints").iterdir()) == ["step-00000006", "step-00000010"]


def test_a_run_that_saved_nothing_has_none(tmp_path):
    assert checkpoint.find(str(tmp_path / "new")) == []


def test_a_torn_checkpoint_does_not_count(tmp_path):
    Parts(updates=2).save(tmp_path, 2)
    Parts(updates=4).save(tmp_path, 4)
    (tmp_path / "checkpoints" / "step-00000004" / "state.json").unlink()
    assert [one.step for one in checkpoint.find(str(tmp_path))] == [2]


def test_a_torn_checkpoint_is_written_over(tmp_path):
    Parts(updates=2).save(tmp_path, 2)
    (tmp_path / "checkpoints" / "step-00000002" / "state.json").unlink()
    again, loaded = Parts(updates=3), Parts()
    again.save(tmp_path, 2)
    loaded.load(tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(again.state(), loaded.state(), strict=True))


def test_another_architecture_is_one_clear_error(tmp_path):
    Parts().save(tmp_path, 1)
    with pytest.raises(TrainError, match=r"student does not fit .*--fresh"):
        Parts(width=4).load(tmp_path)


def test_a_module_that_is_not_in_it_is_one_clear_error(tmp_path):
    Parts().save(tmp_path, 1)
    parts = Parts()
    parts.modules["judge"] = nn.Linear(1, 1)
    with pytest.raises(TrainError, match="judge does not fit"):
        parts.load(tmp_path)


@pytest.mark.parametrize("kept", [0, 20])
def test_damaged_weights_are_one_clear_error(tmp_path, kept):
    Parts().save(tmp_path, 1)
    weights = tmp_path / "checkpoints" / "step-00000001" / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(TrainError, match="student does not fit"):
        Parts().load(tmp_path)


@pytest.mark.parametrize("kept", [0, 20, 400])
def test_a_damaged_optimizer_is_one_clear_error(tmp_path, kept):
    Parts(updates=1).save(tmp_path, 1)
    state = tmp_path / "checkpoints" / "step-00000001" / "optimizer.pt"
    state.write_bytes(state.read_bytes()[:kept])
    with pytest.raises(TrainError, match="optimizer does not fit"):
        Parts().load(tmp_path)


@pytest.mark.parametrize("left", ["", "{}", "[]", '{"step": 2'])
def test_a_damaged_state_is_passed_over_while_there_is_another(tmp_path, left):
    parts = Parts()
    for step in (1, 2):
        parts.save(tmp_path, step)
        assert checkpoint.find(str(tmp_path))[0].step == step
    states = [tmp_path / "checkpoints" / f"step-0000000{step}" / "state.json" for step in (1, 2)]
    states[1].write_text(left)
    assert [saved.step for saved in checkpoint.find(str(tmp_path))] == [1]
    states[0].write_text(left)
    with pytest.raises(TrainError, match=r"state\.json is damaged .* start over with --fresh"):
        checkpoint.find(str(tmp_path))
