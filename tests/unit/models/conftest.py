"""Students small enough to build in every test."""

import pytest

from segray.config.students import InstancePredict, Mask2Former, NanoBackbone
from segray.models.build import build_student

CLASSES = ("disc", "square", "star")


def small(**changes):
    settings = {
        "backbone": NanoBackbone(),
        "num_queries": 6,
        "hidden_dim": 32,
        "mask_feature_size": 16,
        "num_heads": 2,
        "pixel_decoder_layers": 1,
        "pixel_decoder_feedforward": 32,
        "decoder_layers": 3,
        "decoder_feedforward": 32,
        "num_points": 64,
        "predict": InstancePredict(side=64, top_k=10),
    }
    return Mask2Former(**settings | changes)


@pytest.fixture
def build():
    """Build a small student, with changes to its config."""

    def make(*, seed=0, **changes):
        return build_student(small(**changes), CLASSES, seed=seed)

    return make
