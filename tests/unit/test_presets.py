"""The semantic presets: built at full size on the meta device, and trained for two steps on made-up data."""

import math

import pytest
import torch

from segray.job_configs import load_as
from segray.methods.config import TrainConfig
from tests import presets as tool

SEMANTIC = {tool.preset_id(path): path for path in tool.presets("fpn", "deeplab", "dpt", "segformer")}
ENCODERS = {"resnet101s": 42.62, "xception65": 37.87, "base": 86.58}
"""Parameters in millions: ResNet-101 with a deep stem as published, timm's Xception-65 and DINOv2-Base."""
DECODERS = {"deeplab": 16.84, "dpt": 10.65}
"""Parameters in millions of what follows the encoder, without the last layer."""
CLASSES = {"coco": 81, "cityscapes": 19, "store": 21}
"""Number of classes of sources that do not name them."""


def weights_of(module):
    """Number of weights, those of frozen norms among them."""
    state = module.state_dict().items()
    return sum(one.numel() for name, one in state if not name.endswith(("_mean", "_var", "_tracked")))


@pytest.fixture(params=SEMANTIC)
def preset(request):
    return SEMANTIC[request.param]


def test_a_preset_builds_at_full_size(preset):
    config = load_as(TrainConfig, preset)
    labeled = config.data.labeled
    settings, classes = config.student, len(getattr(labeled, "classes", ())) or CLASSES[labeled.kind]
    student = tool.on_meta(config, tuple(map(str, range(classes)))).eval()
    encoder, last = (weights_of(one) for one in (student.encoder, student.classifier))
    size = ENCODERS[getattr(settings, "encoder", getattr(settings, "size", ""))]
    assert encoder / 1e6 == pytest.approx(size, abs=0.01)
    assert (weights_of(student) - encoder - last) / 1e6 == pytest.approx(DECODERS[settings.kind], abs=0.01)
    height, width = config.view.canvas_hw
    with torch.device("meta"), torch.no_grad():
        logits = student(torch.empty(1, 3, height, width)).logits
    expected = (math.ceil(height / 4), math.ceil(width / 4)) if settings.kind == "deeplab" else (8 * height // 14,) * 2
    assert logits.shape == (1, classes, *expected)


def test_two_steps_on_made_up_data_of_that_layout(preset, tmp_path):
    config = tool.shrink(preset, tmp_path)
    steps = list(tool.train_steps(config, tmp_path))
    assert len(steps) == tool.STEPS
    for losses in steps:
        assert math.isfinite(losses["loss"])
        assert losses["loss/ce"] > 0
