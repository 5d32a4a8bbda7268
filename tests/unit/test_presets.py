"""The semantic presets: built at full size on the meta device, and trained for two steps on made-up data."""

import math

import pytest

from tests import presets as tool

SEMANTIC = tool.presets("fpn", "deeplab", "dpt", "segformer")


@pytest.fixture(params=SEMANTIC, ids=tool.preset_id)
def preset(request):
    return request.param


def test_two_steps_on_made_up_data_of_that_layout(preset, tmp_path):
    config = tool.shrink(preset, tmp_path)
    steps = list(tool.train_steps(config, tmp_path))
    assert len(steps) == tool.STEPS
    for losses in steps:
        assert math.isfinite(losses["loss"])
        assert losses["loss/ce"] > 0
