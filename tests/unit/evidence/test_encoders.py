import pytest
import timm
import torch
from safetensors.torch import save_file

from segray.config.evidence import NanoEncoderConfig, TimmEncoderConfig
from segray.errors import BackendError
from segray.evidence.encoders import build_encoder, normalised


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_a_timm_classifiers_weights_become_its_features(tmp_path, name):
    torch.manual_seed(0)
    whole = timm.create_model(name).eval()
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    encoder = build_encoder(TimmEncoderConfig(name=name, weights=str(tmp_path / "whole.safetensors")), load=True).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, last = encoder(images), whole.forward_intermediates(images, indices=1, intermediates_only=True)[0]
    assert found.shape[1] == encoder.channels
    assert found.shape[2:] == (4, 4)
    grown = torch.nn.functional.interpolate(last, size=(4, 4), mode="bilinear", align_corners=False)
    assert torch.allclose(found[:, -last.shape[1] :], grown, atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path):
    save_file({"head.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    config = TimmEncoderConfig(name="test_resnet", weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(BackendError, match="the weights lack"):
        build_encoder(config, load=True)
    build_encoder(config, load=False)


def test_a_name_that_timm_does_not_know_is_refused():
    with pytest.raises(BackendError, match="cannot load timm encoder 'nonet' with weights None"):
        build_encoder(TimmEncoderConfig(name="nonet"), load=False)


def test_the_nano_trunk_sees_at_stride_8():
    encoder = build_encoder(NanoEncoderConfig(), load=True).eval()
    pixels = torch.zeros(2, 64, 96, 3, dtype=torch.uint8)
    assert encoder(normalised(pixels)).shape == (2, encoder.channels, 8, 12)
