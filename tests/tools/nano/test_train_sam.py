"""Training resumes to the same weights, and leaves weights that load."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from segray.sam.backends.segment_anything.nano import load_sam_nano
from tools.nano.train_sam import WARMUP_STEPS, SamIntervals, SamPlan, Trainer, train

PLAN = {
    "num_scenes": 4, "images_per_step": 4, "prompts_per_image": 1, "second_round": 1, "cooldown": 2, "small_steps": 1,
    "bf16": False,
}  # fmt: skip
# fp32: in bf16 two uninterrupted runs already differ in their last digits.
QUIET = SamIntervals(cache_workers=1, evaluate_scenes=0, log_every=1)


def test_two_sittings_give_what_one_gives(tmp_path: Path) -> None:
    whole = train(SamPlan(steps=4, **PLAN), tmp_path / "whole", QUIET)
    (tmp_path / "parts").mkdir()
    (tmp_path / "whole" / "scenes-photo-4.npy").rename(tmp_path / "parts" / "scenes-photo-4.npy")
    plan = SamPlan(steps=4, **PLAN)
    first = Trainer(plan, tmp_path / "parts")
    cache = np.load(tmp_path / "parts" / "scenes-photo-4.npy")
    first.advance(cache)
    first.advance(cache)
    first.save()
    second = train(plan, tmp_path / "parts", QUIET)
    assert second.step == whole.step == 4
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, second.net.state_dict()[name]), name
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, second.average.state_dict()[name]), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert steps == [3, 4]
    exported = load_sam_nano(tmp_path / "parts" / "sam-nano.safetensors")
    weight = exported.mask_decoder.iou_token.weight
    assert torch.allclose(weight, whole.average.mask_decoder.iou_token.weight, atol=2e-3)


@pytest.mark.parametrize(("step", "share"), [(0, 0.02), (49, 1.0), (500, 1.0), (800, 1.0), (900, 0.5), (1000, 0.0)])
def test_rate_warms_up_stays_and_cools_down(tmp_path: Path, step: int, share: float) -> None:
    trainer = Trainer(SamPlan(steps=1000, cooldown=200), tmp_path)
    trainer.step = step
    assert trainer.rate() == pytest.approx(share * trainer.plan.learning_rate)


def test_a_sitting_starts_from_exported_weights(tmp_path: Path) -> None:
    first = Trainer(SamPlan(steps=1000), tmp_path)
    first.step = 700
    first.export(tmp_path / "weights.safetensors")
    second = Trainer(SamPlan(steps=1000, seed=1), tmp_path)
    second.start_from(tmp_path / "weights.safetensors")
    assert second.step == 700
    assert second.rate() == pytest.approx(second.plan.learning_rate / WARMUP_STEPS)
    tokens = [trainer.sam.mask_decoder.mask_tokens.weight for trainer in (first, second)]
    assert torch.allclose(*tokens, atol=2e-3)
