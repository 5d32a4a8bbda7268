"""Which parameters decay, how fast each learns, and when."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from segray.config.base import build, fingerprint, plain
from segray.config.schedule import AnySchedule, Schedule
from segray.config.students import HfBackbone, Mask2Former, NanoBackbone
from segray.models.build import build_student
from segray.training.optimizer import build_optimizer, rate_factor, set_rate

STUDENT = {
    "num_queries": 4,
    "hidden_dim": 32,
    "mask_feature_size": 16,
    "num_heads": 2,
    "pixel_decoder_layers": 1,
    "pixel_decoder_feedforward": 32,
    "decoder_layers": 1,
    "decoder_feedforward": 32,
}
SCHEDULE = Schedule(steps=100, learning_rate=0.01, backbone_factor=0.1, weight_decay=0.05)


@pytest.fixture(scope="module", params=[NanoBackbone(), NanoBackbone(pretrained=False), HfBackbone()], ids=str)
def student(request):
    backbone = HfBackbone(architecture="resnet-18") if isinstance(request.param, HfBackbone) else request.param
    return build_student(Mask2Former(backbone=backbone, **STUDENT), ("disc",), seed=0)


def group_of(optimizer):
    return {id(one): group for group in optimizer.param_groups for one in group["params"]}


def test_every_trained_parameter_is_in_one_group(student):
    optimizer = build_optimizer(student, SCHEDULE)
    listed = [id(one) for group in optimizer.param_groups for one in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(one) for one in student.parameters() if one.requires_grad}


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_a_momentum_makes_it_sgd(student, momentum):
    given = {"steps": 10, "learning_rate": 0.5} | ({"momentum": momentum} if momentum else {})
    schedule = build(AnySchedule, given, "schedule")
    optimizer = build_optimizer(student, schedule)
    assert isinstance(optimizer, torch.optim.SGD if momentum else torch.optim.AdamW)
    assert optimizer.defaults.get("momentum") == momentum
    assert fingerprint(plain(Schedule(steps=10, learning_rate=0.5))) == fingerprint(plain(schedule)) or momentum


def test_all_decay_where_the_schedule_says_so(student):
    groups = build_optimizer(student, replace(SCHEDULE, decayed="all")).param_groups
    assert {group["weight_decay"] for group in groups} == {0.05}


@pytest.mark.parametrize("decayed", ["matrices", "no-norms"])
def test_norms_and_embeddings_do_not_decay_and_biases_where_the_schedule_says_so(student, decayed):
    groups = group_of(build_optimizer(student, replace(SCHEDULE, decayed=decayed)))
    seen = {0.0: 0, 0.05: 0}
    for module in student.modules():
        spared = isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.Embedding)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                short = decayed == "matrices" and (name == "bias" or parameter.ndim == 1)
                expected = 0.0 if spared or short else 0.05
                assert groups[id(parameter)]["weight_decay"] == expected, (module, name)
                seen[expected] += 1
    assert all(seen.values())


def test_the_backbone_learns_slower(student):
    optimizer = build_optimizer(student, SCHEDULE)
    whole = set_rate(optimizer, SCHEDULE, 50)
    backbone = {id(one) for one in student.backbone_parameters()}
    groups = group_of(optimizer).items()
    assert {group["lr"] for key, group in groups if key not in backbone} == {whole}
    assert [group["lr"] for key, group in groups if key in backbone] == pytest.approx(
        [0.1 * whole] * len(backbone & dict(groups).keys())
    )


@pytest.mark.parametrize(
    ("changes", "factors"),
    [
        ({"decay": "constant"}, {0: 1, 50: 1, 99: 1}),
        ({"decay": "poly"}, {0: 1, 50: 0.5**0.9, 99: 0.01**0.9}),
        ({"decay": "step"}, {0: 1, 88: 1, 89: 0.1, 96: 0.1, 97: 0.01, 99: 0.01}),
        ({"decay": "constant", "warmup": 0.1}, {0: 0.1, 4: 0.5, 9: 1, 10: 1, 99: 1}),
        ({"decay": "poly", "warmup": 0.1}, {4: 0.5 * 0.96**0.9, 50: 0.5**0.9}),
        ({"decay": "constant", "warmup": 0.001}, {0: 1}),
        ({"decay": "constant", "warmup": 1.0}, {0: 0.01, 99: 1}),
    ],
)
def test_rate_at_each_step(changes, factors):
    schedule = Schedule(steps=100, **changes)
    assert {step: rate_factor(schedule, step) for step in factors} == pytest.approx(factors)


def test_a_rate_of_nought_leaves_the_backbone_as_it_is(student):
    optimizer = build_optimizer(student, Schedule(steps=10, backbone_factor=0, learning_rate=0.1))
    before = [one.detach().clone() for one in student.backbone_parameters()]
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)
    set_rate(optimizer, Schedule(steps=10, backbone_factor=0, learning_rate=0.1), 0)
    optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(student.backbone_parameters(), before, strict=True))
