import pydantic
import pytest
import torch

from segray.config.students import DinoBackbone, HfBackbone, Mask2Former, NanoBackbone
from segray.losses.criterion import Targets


def images(number, size_hw=(64, 96)):
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (number, 3, *size_hw), dtype=torch.uint8, generator=generator)


def targets(*numbers, size_hw=(64, 96)):
    out = []
    for number in numbers:
        masks = torch.zeros(number, *size_hw, dtype=torch.bool)
        for index in range(number):
            masks[index, 10 * index : 10 * index + 20, 20 * index : 20 * index + 30] = True
        out.append(Targets(classes=torch.arange(number) % 3, masks=masks))
    return out


def test_all_outputs_are_there_at_stride_4(build):
    output = build()(images(2))
    assert [tuple(one.shape) for one in output.class_logits] == [(2, 6, 4)] * 4
    assert [tuple(one.shape) for one in output.mask_logits] == [(2, 6, 16, 24)] * 4
    assert output.mask_features.shape == (2, 16, 16, 24)


def test_bytes_and_floats_are_the_same_image(build):
    student = build().eval()
    for ours, theirs in zip(student(images(1)).mask_logits, student(images(1).float()).mask_logits, strict=True):
        assert torch.equal(ours, theirs)


def test_weights_come_from_the_seed_alone_and_forward_draws_nothing(build):
    torch.manual_seed(1)
    first = build(seed=3, backbone=NanoBackbone(pretrained=False))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    same, other = (build(seed=seed, backbone=NanoBackbone(pretrained=False)) for seed in (3, 4))
    outputs = [student.train()(images(1)).class_logits[-1] for student in (first, same, other)]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("numbers", [(0, 0), (0, 3), (2, 1)])
@pytest.mark.parametrize(
    "backbone",
    [NanoBackbone(), HfBackbone(architecture="resnet-18"), DinoBackbone(size="tiny")],
    ids=["nano", "resnet", "dino"],
)
def test_every_parameter_gets_a_gradient(build, backbone, numbers):
    student = build(backbone=backbone).train()
    known = targets(*numbers)
    losses = student.criterion(student(images(2)), known, keys=[1, 2], count=student.criterion.count(known))
    sum(losses.values()).backward()
    assert [name for name, value in student.named_parameters() if value.requires_grad and value.grad is None] == []
    assert all(value.grad.isfinite().all() for value in student.parameters() if value.requires_grad)


def test_an_image_is_seen_alike_in_any_batch(build):
    student = build().train()
    together, alone = student(images(3)), student(images(3)[1:2])
    torch.testing.assert_close(together.class_logits[-1][1:2], alone.class_logits[-1], rtol=1e-3, atol=1e-4)


def test_backbone_parameters_are_the_backbones(build):
    student = build()
    names = {id(value): name for name, value in student.named_parameters()}
    of_backbone = {names[id(value)] for value in student.backbone_parameters()}
    assert of_backbone == {name for name in names.values() if name.startswith("backbone.")}
    assert len(of_backbone) < len(names)


@pytest.mark.parametrize(
    ("backbone", "learns"),
    [
        (NanoBackbone(), {"decoders"}),
        (HfBackbone(architecture="resnet-18"), {"decoders"}),
        (DinoBackbone(size="tiny"), {"decoders", "backbone.projections"}),
        (DinoBackbone(version="dinov3", size="tiny"), {"decoders", "backbone.projections"}),
    ],
    ids=["nano", "resnet", "dinov2", "dinov3"],
)
def test_a_frozen_backbone_computes_no_gradients(build, backbone, learns):
    """Projections over a frozen DINO are fresh, and so they are trained."""
    student = build(backbone=backbone, frozen_encoder=True).train()
    known = targets(2)
    seen = []
    output = student(images(1), lambda features: seen.extend(features) or features)
    sum(student.criterion(output, known, keys=[1], count=student.criterion.count(known)).values()).backward()
    assert any(one.requires_grad for one in seen) == ("backbone.projections" in learns)
    trained = [name for name, one in student.named_parameters() if one.requires_grad]
    assert {".".join(name.split(".")[: 1 + name.startswith("backbone.")]) for name in trained} == learns
    assert [name for name, one in student.named_parameters() if (one.grad is None) == one.requires_grad] == []


def test_a_frozen_backbone_has_no_norm_that_learns():
    with pytest.raises(pydantic.ValidationError, match="a frozen encoder keeps its norms"):
        Mask2Former(backbone=HfBackbone(norm="synchronised"), frozen_encoder=True)


def test_it_learns_one_image(build):
    student = build(num_points=256).train()
    known = targets(2)
    count = student.criterion.count(known)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    totals = []
    for step in range(40):
        total = sum(student.criterion(student(images(1)), known, keys=[step], count=count).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.5 * totals[0]


def test_autocast_keeps_pixels_exact(build):
    student = build().eval()
    with torch.autocast("cpu", torch.bfloat16):
        output = student(images(1))
    assert output.mask_features.dtype == torch.float32
    assert output.class_logits[-1].isfinite().all()


def test_decoders_start_as_transformers_own_do(build):
    # There, what a layer says of its weights outlasts what its linear parts say; so must it here.
    student = build(hidden_dim=64)
    for layer in student.decoders.pixels.encoder.layers:
        assert layer.self_attn.sampling_offsets.bias.view(-1, 2).norm(dim=1).min() >= 1
        assert not layer.self_attn.sampling_offsets.weight.any()
        assert not layer.self_attn.attention_weights.weight.any()
        assert layer.self_attn.value_proj.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.1)
    for layer in student.decoders.queries.decoder.layers:
        assert layer.self_attn.q_proj.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.1)
