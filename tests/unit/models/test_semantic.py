"""Students of label maps: every kind trains, predicts at any size, travels as a package and as ONNX."""

from dataclasses import replace

import numpy as np
import pydantic
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import Dinov2Backbone, DINOv3ViTModel, SegformerModel

from segray.config.students import (
    DeepLab,
    Dpt,
    DptDinov3,
    Fpn,
    HfBackbone,
    NanoBackbone,
    SegFormer,
    SemanticPredict,
    SlidingWindow,
)
from segray.errors import BackendError
from segray.losses.cross_entropy import SemanticTargets
from segray.masks.semantic import paint
from segray.models import dpt, segformer
from segray.models.build import build_student, load_student, start_hash
from segray.models.deeplab import DeepLabStudent
from segray.models.onnx import export_onnx
from segray.models.package import read_card, save_student
from segray.models.semantic import SemanticStudent, best_of, starts
from segray.models.student import SemanticOutput
from segray.nets.synchronised_norm import SynchronisedBatchNorm

CLASSES = ("background", "disc", "square", "star")
KINDS = {
    "fpn": Fpn(width=16),
    "deeplab": DeepLab(encoder="resnet18d", width=16),
    "dpt": Dpt(size="tiny"),
    "dpt-dinov3": DptDinov3(size="tiny"),
    "segformer": SegFormer(),
}
SIDES = {"fpn": 64, "deeplab": 49, "dpt": 28, "dpt-dinov3": 32, "segformer": 64}


def image(*size_hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def students():
    return {name: build_student(settings, CLASSES, seed=0) for name, settings in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_trained_parameter_gets_a_gradient_and_no_norm_looks_at_the_batch(students, kind):
    student = students[kind]
    side = SIDES[kind]
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    targets = [SemanticTargets(labels=torch.zeros(side, side, dtype=torch.uint8))] * 2
    student.zero_grad()
    output = student.train()(images)
    losses = student.criterion(output, targets, keys=(0, 1), count=student.criterion.count(targets))
    losses["ce"].backward()
    assert [name for name, one in student.named_parameters() if one.requires_grad and one.grad is None] == []
    torch.testing.assert_close(student(images[:1]).logits, output.logits[:1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(student.eval()(images).logits, output.logits, rtol=1e-4, atol=1e-4)
    backbone = {id(one) for one in student.backbone_parameters()}
    assert 0 < len(backbone) < len(list(student.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_happens_to_features_reaches_the_logits(students, kind):
    student, seen = students[kind], []
    images = torch.randint(0, 256, (1, 3, SIDES[kind], SIDES[kind]))

    def perturb(features):
        seen.append([one.shape for one in features])
        return tuple(one * 0 for one in features)

    with torch.no_grad():
        assert not torch.allclose(student(images).logits, student(images, perturb).logits)
    (shapes,) = seen
    assert len(shapes) >= 2
    assert all(len(one) == 4 for one in shapes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_says_the_same_as_the_student(students, kind, tmp_path):
    student = students[kind]
    save_student(student, str(tmp_path), info={})
    again = load_student(str(tmp_path))
    assert again.settings == student.settings
    for one, other in zip(*(each.predict([image(40, 70)]) for each in (student, again)), strict=True):
        assert one.counts.tolist() == other.counts.tolist()
    assert read_card(str(tmp_path))["preprocessing"]["multiple"] == student.settings.multiple


@pytest.mark.slow
def test_onnx_says_the_same_as_the_student(students, tmp_path):
    """DPT: the one whose places are interpolated to the canvas."""
    assert export_onnx(students["dpt"], str(tmp_path / "student.onnx"), (56, 84)) < 1e-3


def test_a_student_starts_from_another_all_but_the_classes(students, tmp_path):
    save_student(students["fpn"], str(tmp_path), info={})
    student = build_student(Fpn(width=16, start=str(tmp_path)), ("a", "b"), seed=5)
    ours, theirs = student.state_dict(), students["fpn"].state_dict()
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {
        "classifier.weight",
        "classifier.bias",
    }


def test_deeplabs_decoder_is_the_published_one():
    """1.29 million parameters of two full convolutions after the pyramid pooling, and 48 channels at stride 4."""
    with torch.device("meta"):
        student = DeepLabStudent(DeepLab(norm="synchronised"), CLASSES, load=False)
    fuse = [one for one in student.decoder.fuse.modules() if isinstance(one, torch.nn.Conv2d)]
    assert [tuple(one.weight.shape) for one in fuse] == [(256, 256 + 48, 3, 3), (256, 256, 3, 3)]
    assert sum(one.weight.numel() for one in fuse) == 1_290_240
    stem = [one.out_channels for one in student.encoder.net.modules() if isinstance(one, torch.nn.Conv2d)][:3]
    assert stem == [64, 64, 128]
    norms = [one for one in student.modules() if isinstance(one, torch.nn.modules.batchnorm._NormBase)]
    assert {type(one) for one in norms} == {SynchronisedBatchNorm}


def test_deeplabs_decoder_says_what_its_formula_says(students):
    student = students["deeplab"].eval()
    images = torch.randint(0, 256, (1, 3, 49, 65))
    with torch.no_grad():
        fine, coarse = student.encode(student.normalised(images))
        decoder = student.decoder
        pooled = F.interpolate(decoder.pooling(coarse), size=(13, 17), mode="bilinear", align_corners=True)
        expected = student.classifier(decoder.fuse(torch.cat([decoder.reduce(fine), pooled], 1)))
        torch.testing.assert_close(student(images).logits, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_encoder_computes_no_gradients(kind):
    student = build_student(replace(KINDS[kind], frozen_encoder=True), CLASSES, seed=0).train()
    images = torch.randint(0, 256, (1, 3, SIDES[kind], SIDES[kind]))
    seen = []
    student(images, lambda features: seen.extend(features) or features).logits.sum().backward()
    assert not any(one.requires_grad for one in seen)
    assert {name.split(".")[0] for name, one in student.named_parameters() if one.grad is None} == {"encoder"}


def test_a_frozen_encoder_has_no_norm_that_learns():
    with pytest.raises(pydantic.ValidationError, match="a frozen encoder keeps its norms"):
        DeepLab(frozen_encoder=True, norm="synchronised")


# ------------------------------------------------------------------------------------------------ weights from files


def test_deeplab_takes_the_weights_of_a_timm_file_and_freezes_their_norms(tmp_path):
    given = timm.create_model("resnet18d", num_classes=7)
    save_file(given.state_dict(), tmp_path / "weights.safetensors")
    student = build_student(
        DeepLab(encoder="resnet18d", width=16, weights=str(tmp_path / "weights.safetensors")), CLASSES, seed=0
    )
    ours = student.encoder.net.state_dict()
    assert torch.equal(ours["layer4.1.conv2.weight"], given.layer4[1].conv2.weight)
    assert "bn1.weight" not in dict(student.encoder.net.named_parameters())


def test_norms_that_hold_their_activation_keep_it():
    student = build_student(DeepLab(encoder="regnetx_002", width=16), CLASSES, seed=0)
    given = timm.create_model("regnetx_002", features_only=True, output_stride=16)

    def activations(net):
        return sum(isinstance(one, torch.nn.ReLU) for one in net.modules())

    assert activations(student.encoder.net) == activations(given) > 0


@pytest.mark.parametrize(
    ("settings", "kind", "architecture", "key"),
    [
        (Dpt(size="tiny"), Dinov2Backbone, dpt._architecture, "encoder.layer.0.mlp.fc1.weight"),
        (DptDinov3(size="tiny"), DINOv3ViTModel, dpt._architecture, None),
        (SegFormer(), SegformerModel, segformer._architecture, None),
    ],
    ids=["dpt", "dpt-dinov3", "segformer"],
)
def test_transformers_encoders_take_the_weights_of_a_folder(settings, kind, architecture, key, tmp_path):
    given = kind(architecture(settings))
    given.save_pretrained(tmp_path)
    student = build_student(type(settings)(**{**vars(settings), "weights": str(tmp_path)}), CLASSES, seed=0)
    theirs, ours = given.state_dict(), student.encoder.net.state_dict()
    name = key or next(one for one in theirs if one.endswith("weight"))
    assert torch.equal(ours[name], theirs[name])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (DeepLab(encoder="resnet_of_my_dreams"), "resnet_of_my_dreams"),
        (Dpt(size="tiny", weights="nowhere/at/all"), "cannot load backbone weights 'nowhere/at/all'"),
    ],
    ids=["no such encoder", "no such weights"],
)
def test_what_cannot_be_built_is_one_clear_error(settings, problem):
    with pytest.raises(BackendError, match=problem):
        build_student(settings, CLASSES, seed=0)


def test_runs_are_named_by_the_weights_they_start_from():
    random = Fpn(backbone=NanoBackbone(pretrained=False))
    assert start_hash(Fpn()) is not None
    assert start_hash(random) is start_hash(Dpt()) is start_hash(Fpn(backbone=HfBackbone())) is None


# -------------------------------------------------------------------------------------------------------- prediction


class Brightness(SemanticStudent):
    """Sees how bright a cell of 4 x 4 pixels is: dark, middle or bright, and remembers what sizes it was shown."""

    def __init__(self, **predict):
        super().__init__(Fpn(predict=SemanticPredict(**predict)), ("dark", "middle", "bright"))
        self.encoder, self.shown = torch.nn.Identity(), []

    def normalised(self, images):
        return images.float()

    def encode(self, images):
        return (images,)

    def decode(self, features):
        self.shown.append(tuple(features[0].shape[2:]))
        grey = F.avg_pool2d(features[0].mean(1, keepdim=True), 4)
        return torch.cat([-(grey - level).abs() for level in (0.0, 128.0, 255.0)], 1) / 10


def bars(height, width):
    """Three upright bars, dark to bright."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, width // 3 :], pixels[:, 2 * width // 3 :] = 128, 255
    return pixels


@pytest.mark.parametrize(
    ("size_hw", "predict", "shown"),
    [
        ((96, 96), {}, (96, 96)),
        ((100, 150), {}, (96, 160)),
        ((300, 600), {"side": 64}, (32, 64)),
        ((300, 600), {"shorter_side": 64}, (64, 128)),
        ((10, 10), {}, (32, 32)),
    ],
    ids=str,
)
def test_sides_go_to_the_nearest_multiple_and_logits_come_back(size_hw, predict, shown):
    student = Brightness(**predict)
    labels = paint(student.predict([bars(*size_hw)])[0])
    assert student.shown == [shown]
    assert labels.shape == size_hw
    truth = np.repeat([0, 1, 2], 10)[(np.arange(size_hw[1]) * 30) // size_hw[1]]
    assert (labels == truth).mean() >= 0.8


def test_a_label_map_is_one_mask_per_class_with_its_mean_probability():
    student = Brightness()
    (found,) = student.predict([bars(96, 96)])
    assert sorted(found.classes.tolist()) == [0, 1, 2]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert found.areas.sum() == 96 * 96
    assert set(found.provenance) == {"student"}
    logits = student(torch.from_numpy(bars(96, 96)).permute(2, 0, 1)[None]).logits
    sure, labels = F.interpolate(logits, size=(96, 96), mode="bilinear")[0].softmax(0).max(0)
    for score, class_id in zip(found.scores, found.classes.tolist(), strict=True):
        assert score == pytest.approx(float(sure[labels == class_id].mean()), rel=1e-5)


def test_images_of_any_sizes_come_back_in_their_order_and_modes_stay():
    student = Brightness().train()
    images = [bars(64, 96), bars(40, 40), bars(64, 96), bars(33, 120)]
    together = student.predict(images)
    assert student.training
    assert [one.size_hw for one in together] == [one.shape[:2] for one in images]
    for alone, found in zip(images, together, strict=True):
        assert np.array_equal(paint(student.predict([alone])[0]), paint(found))


@pytest.mark.parametrize(
    ("length", "size", "expected"),
    [(64, 64, [0]), (50, 64, [0]), (65, 64, [0, 1]), (128, 64, [0, 42, 64]), (148, 64, [0, 42, 84])],
)
def test_windows_step_two_thirds_and_end_inside(length, size, expected):
    assert starts(length, SlidingWindow(size=size)) == expected


def test_large_images_go_window_by_window_and_add_up():
    student = Brightness(window={"size": 64})
    pixels = bars(96, 160)
    labels = paint(student.predict([pixels])[0])
    assert set(student.shown) == {(64, 64)}
    assert len(student.shown) == 2 * 4
    total = np.zeros((3, 96, 160))
    for y0 in (0, 32):
        for x0 in (0, 42, 84, 96):
            logits = student(torch.from_numpy(pixels[y0 : y0 + 64, x0 : x0 + 64]).permute(2, 0, 1)[None]).logits
            full = F.interpolate(logits, size=(64, 64), mode="bilinear")[0].softmax(0)
            total[:, y0 : y0 + 64, x0 : x0 + 64] += full.numpy()
    assert (labels == total.argmax(0)).mean() > 0.999
    student.shown.clear()
    student.predict([bars(64, 64)])
    assert student.shown == [(64, 64)]


def test_sizes_and_mirror_images_add_up():
    """Against the sum of probabilities that single predictions give."""
    student, pixels = Brightness(scales=(0.5, 1.0), flip=True), bars(64, 96)[:, :70]
    labels = paint(student.predict([pixels])[0])
    assert student.shown == [(32, 32), (32, 32), (64, 64), (64, 64)]
    given, total = torch.from_numpy(pixels).permute(2, 0, 1)[None], 0
    for side in (32, 64):
        seen = F.interpolate(given, size=(side, side), mode="bilinear", antialias=True)
        for own in (student(seen).logits, student(seen.flip(3)).logits.flip(3)):
            total = total + F.interpolate(own, size=pixels.shape[:2], mode="bilinear")[0].softmax(0)
    assert np.array_equal(labels, total.argmax(0).numpy())


def test_logits_are_resized_with_aligned_corners_where_the_student_says_so():
    student = Brightness()
    student.settings = DeepLab()
    student.criterion = replace(student.criterion, align_corners=True)
    pixels = bars(64, 96)
    logits = student(torch.from_numpy(pixels).permute(2, 0, 1)[None]).logits
    expected = F.interpolate(logits, size=(64, 96), mode="bilinear", align_corners=True)[0].argmax(0)
    assert np.array_equal(paint(student.predict([pixels])[0]), expected.numpy())


def test_one_side_says_the_size():
    with pytest.raises(pydantic.ValidationError, match="give one of them"):
        SemanticPredict(side=64, shorter_side=64)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_classes_a_few_at_a_time_say_what_all_say_together(at_once, monkeypatch):
    monkeypatch.setattr("segray.models.semantic._PIXELS_AT_ONCE", at_once * 12 * 20)
    logits = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
    labels, sure = best_of(logits, (12, 20))
    expected, classes = F.interpolate(logits[None], size=(12, 20), mode="bilinear")[0].softmax(0).max(0)
    assert torch.equal(labels, classes)
    torch.testing.assert_close(sure, expected)


def test_output_is_logits():
    output = build_student(KINDS["fpn"], CLASSES, seed=0)(torch.zeros(1, 3, 64, 64))
    assert isinstance(output, SemanticOutput)
    assert output.logits.shape == (1, 4, 16, 16)
    assert output.logits.isfinite().all()
