"""RF-DETR as a student: what it says, what it learns, and its export."""

from dataclasses import replace

import numpy as np
import pydantic
import pytest
import torch
from transformers import Dinov2Backbone

from segray.config.students import InstancePredict
from segray.losses.criterion import Targets
from segray.models.build import build_student, load_student
from segray.models.onnx import TOLERANCE, export_onnx
from segray.models.package import save_student
from segray.models.rf_detr.config import RfDetr
from segray.nets import dino

CLASSES = ("disc", "square", "star")
SMALL = RfDetr(
    size="tiny",
    num_queries=6,
    hidden_dim=32,
    num_heads=2,
    decoder_layers=2,
    decoder_feedforward=32,
    num_groups=2,
    num_points=64,
    predict=InstancePredict(side=56, top_k=6),
)


def images(number, size_hw=(56, 84)):
    return torch.randint(0, 256, (number, 3, *size_hw), generator=torch.Generator().manual_seed(7)).to(torch.uint8)


def targets(*numbers, size_hw=(56, 84)):
    out = []
    for number in numbers:
        masks = torch.zeros(number, *size_hw, dtype=torch.bool)
        for index in range(number):
            masks[index, 10 * index : 10 * index + 20, 20 * index : 20 * index + 30] = True
        out.append(Targets(classes=torch.arange(number) % 3, masks=masks))
    return out


@pytest.fixture(scope="module")
def student():
    return build_student(SMALL, CLASSES, seed=0)


def test_every_group_is_supervised_in_training_and_one_predicts(student):
    """Places and two layers, of two groups in training."""
    for training, outputs in ((True, 6), (False, 3)):
        output = student.train(training)(images(2))
        assert [tuple(one.shape) for one in output.class_logits] == [(2, 6, 4)] * outputs
        assert [tuple(one.shape) for one in output.mask_logits] == [(2, 6, 14, 21)] * outputs
        assert [tuple(one.shape) for one in output.boxes] == [(2, 6, 4)] * outputs
    assert all((one[..., -1] == 0).all() for one in output.class_logits)


def test_what_it_says_is_what_transformers_says(student):
    """The group that predicts is last, with the masks, boxes and classes of the whole model."""
    student.eval()
    with torch.no_grad():
        ours, theirs = student(images(2)), student.net(student.normalised(images(2)))
    assert torch.equal(ours.class_logits[-1][..., :-1], theirs.logits)
    assert torch.equal(ours.mask_logits[-1], theirs.pred_masks)
    assert torch.equal(ours.boxes[-1], theirs.pred_boxes)
    assert torch.equal(ours.mask_logits[0], theirs.enc_outputs_mask_logits)


@pytest.mark.parametrize("numbers", [(0, 0), (0, 3)])
def test_every_parameter_gets_a_gradient(student, numbers):
    student.train().zero_grad()
    known, before = targets(*numbers), torch.get_rng_state()
    losses = student.criterion(student(images(2)), known, keys=[1, 2], count=student.criterion.count(known))
    sum(losses.values()).backward()
    assert torch.equal(before, torch.get_rng_state()), "nothing is drawn from the global generator"
    assert set(losses) == {"class", "mask", "dice", "box", "giou"}
    assert [name for name, value in student.named_parameters() if value.grad is None] == []
    assert all(value.grad.isfinite().all() for value in student.parameters())


def test_it_learns_one_image():
    student = build_student(replace(SMALL, num_points=256), CLASSES, seed=0).train()
    known = targets(2)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    totals = []
    for step in range(25):
        count = student.criterion.count(known)
        total = sum(student.criterion(student(images(1)), known, keys=[step], count=count).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.6 * totals[0]


def test_a_frozen_encoder_computes_no_gradients():
    student = build_student(replace(SMALL, frozen_encoder=True), CLASSES, seed=0).train()
    known = targets(2)
    losses = student.criterion(student(images(1)), known, keys=[1], count=student.criterion.count(known))
    sum(losses.values()).backward()
    still = {name for name, value in student.named_parameters() if value.grad is None}
    assert still == {f"net.model.model.backbone.backbone.{name}" for name, _ in student.backbone.named_parameters()}


@pytest.mark.parametrize("size_hw", [(40, 200), (100, 90)])
def test_images_of_any_shape_are_predicted(student, size_hw):
    pixels = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    (found,) = student.predict([pixels])
    assert found.size_hw == size_hw
    assert len(found) <= 6


def test_weights_of_dinov2_are_taken(tmp_path):
    given = Dinov2Backbone(dino.architecture("dinov2", "tiny", (2, 4)))
    given.save_pretrained(tmp_path)
    student = build_student(replace(SMALL, weights=str(tmp_path)), CLASSES, seed=0)
    ours = student.backbone.state_dict()
    assert torch.equal(ours["encoder.layer.3.mlp.fc1.weight"], given.encoder.layer[3].mlp.fc1.weight)
    assert torch.equal(ours["embeddings.position_embeddings"], given.embeddings.position_embeddings)


def test_a_package_gives_the_same_student(student, tmp_path):
    save_student(student, str(tmp_path), info={})
    loaded = load_student(str(tmp_path))
    with torch.no_grad():
        ours, theirs = student.eval()(images(1)), loaded(images(1))
    torch.testing.assert_close(ours.mask_logits[-1], theirs.mask_logits[-1], rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_its_export_says_what_it_says(student, tmp_path):
    difference = export_onnx(student, str(tmp_path / "student.onnx"), (56, 84))
    assert difference <= TOLERANCE
    assert (tmp_path / "student.onnx").stat().st_size > 0


def test_too_few_patches_for_the_queries_are_an_error(student):
    with pytest.raises(pydantic.ValidationError, match=r"predict\.side 32 has 9 patches for 10 queries"):
        RfDetr(num_queries=10, predict=InstancePredict(side=32))
    with pytest.raises(ValueError, match="a canvas of 28 x 28 has 4 patches for 6 queries"):
        student(images(1, (28, 28)))
