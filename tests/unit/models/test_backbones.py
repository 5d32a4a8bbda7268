import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import ResNetConfig, ResNetModel

from segray.assets import TRUNK_NANO
from segray.config.students import DinoBackbone, HfBackbone, NanoBackbone
from segray.errors import BackendError
from segray.models.backbones import build_backbone


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(NanoBackbone(), id="nano"),
        pytest.param(NanoBackbone(pretrained=False), id="nano from nothing"),
        pytest.param(HfBackbone(architecture="resnet-18"), id="resnet-18"),
        pytest.param(HfBackbone(architecture="resnet-50"), id="resnet-50"),
        pytest.param(HfBackbone(architecture="swin-tiny"), id="swin-tiny"),
        pytest.param(DinoBackbone(size="tiny"), id="dinov2"),
        pytest.param(DinoBackbone(version="dinov3", size="tiny"), id="dinov3"),
    ],
)
def test_features_at_four_strides_that_no_batch_or_mode_changes(config):
    backbone = build_backbone(config, load=True).train()
    images = torch.randn(2, 3, 64, 96)
    before = torch.get_rng_state()
    features = backbone(images)
    assert torch.equal(before, torch.get_rng_state()), "nothing is drawn from the global generator"
    assert [tuple(one.shape) for one in features] == [
        (2, width, 64 // stride, 96 // stride) for width, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    for together, alone in zip(features, backbone.eval()(images[:1]), strict=True):
        torch.testing.assert_close(together[:1], alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (HfBackbone(architecture="resnet-101"), 42.50),
        (HfBackbone(architecture="swin-small"), 48.84),
        (DinoBackbone(), 86.58),
        (DinoBackbone(size="large"), 304.37),
        (DinoBackbone(version="dinov3"), 85.66),
    ],
    ids=lambda one: getattr(one, "architecture", getattr(one, "version", one)),
)
def test_larger_backbones_have_the_published_number_of_weights(config, millions):
    """Batch norms have become group norms, with as many weights; a classifier's last norm is left out, and so are
    projections of our own.
    """
    with torch.device("meta"):
        backbone = build_backbone(config, load=False)
    assert sum(one.numel() for one in backbone.pretrained_parameters()) / 1e6 == pytest.approx(millions, abs=0.02)


@pytest.mark.parametrize(
    "config",
    [HfBackbone(architecture="swin-tiny"), DinoBackbone(size="tiny"), DinoBackbone(version="dinov3", size="tiny")],
)
def test_every_parameter_learns(config):
    backbone = build_backbone(config, load=True)
    sum(one.square().mean() for one in backbone(torch.randn(1, 3, 64, 64))).backward()
    assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []


def test_nano_starts_from_the_shipped_trunk_with_frozen_norms():
    state = build_backbone(NanoBackbone(), load=True).state_dict()
    shipped = load_file(TRUNK_NANO)
    for name in ("stem.0.weight", "stem.1.running_mean", "stride32.3.body.4.weight", "place_early.bias"):
        assert torch.equal(state[f"trunk.{name}"], shipped[name].float())
    trainable = dict(build_backbone(NanoBackbone(), load=True).named_parameters())
    assert "trunk.stem.0.weight" in trainable
    assert "trunk.stem.1.weight" not in trainable


def test_weights_of_a_folder_are_taken(tmp_path):
    saved = ResNetModel(ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2]))
    saved.save_pretrained(tmp_path)
    backbone = build_backbone(HfBackbone(architecture="resnet-18", weights=str(tmp_path)), load=True)
    taken = backbone.state_dict()["net.encoder.stages.0.layers.0.layer.0.convolution.weight"]
    assert torch.equal(taken, saved.encoder.stages[0].layers[0].layer[0].convolution.weight)
    assert {"net.embedder.embedder.normalization.running_var"} <= set(backbone.state_dict())
    assert "net.embedder.embedder.normalization.weight" not in dict(backbone.named_parameters())


@pytest.mark.parametrize(
    ("architecture", "says"),
    [("resnet-50", "as a resnet-50: .* are missing"), ("swin-tiny", "as a swin-tiny: ")],
)
def test_weights_of_another_architecture_are_refused(tmp_path, architecture, says):
    settings = ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2])
    ResNetModel(settings).save_pretrained(tmp_path)
    with pytest.raises(BackendError, match=says):
        build_backbone(HfBackbone(architecture=architecture, weights=str(tmp_path)), load=True)


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(BackendError, match=r"nowhere.*give a local folder or Hub id"):
        build_backbone(HfBackbone(weights=str(tmp_path / "nowhere")), load=True)
