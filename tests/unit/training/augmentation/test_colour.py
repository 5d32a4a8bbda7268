import math

import pytest
import torch

from segray import keyed_random
from segray.config.views import StrongView
from segray.training.augmentation.colour import strong_view

NOTHING = {"jitter": 0.0, "grey": 0.0, "blur": 0.0}


def noise(number=4, side=32):
    return torch.randint(0, 256, (number, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def keys(number=4):
    return [keyed_random.key("test", index) for index in range(number)]


def roughness(images):
    return images.float().diff(dim=-1).abs().mean()


def test_an_image_is_changed_by_its_key_alone():
    images, state = noise(), torch.get_rng_state()
    before = images.clone()
    whole = strong_view(images, StrongView(), keys())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    assert (whole.dtype, whole.shape) == (torch.uint8, images.shape)
    for index in range(4):
        assert torch.equal(
            strong_view(images[index : index + 1], StrongView(), keys()[index : index + 1])[0], whole[index]
        )


def test_nothing_asked_nothing_done():
    assert torch.equal(strong_view(noise(), StrongView(**NOTHING), keys()), noise())


def test_grey_is_grey():
    found = strong_view(noise(), StrongView(**{**NOTHING, "grey": 1.0}), keys())
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])
    assert found.float().std() > 10


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.0])
def test_blur_takes_detail_by_its_deviation(sigma):
    """What is left of white noise between neighbours, in closed form for a Gaussian that is not cut."""
    settings = StrongView(**{**NOTHING, "blur": 1.0}, blur_sigma=(sigma, sigma))
    left = roughness(strong_view(noise(4, 128), settings, keys())) / roughness(noise(4, 128))
    expected = math.sqrt(1 - math.exp(-1 / (4 * sigma**2))) / (2 * sigma * math.sqrt(math.pi)) if sigma >= 1 else 1.0
    assert left == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_jitter_acts_within_its_range(name):
    amounts = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0) | {name: 0.4}
    images = (noise(40) // 2 + 40).to(torch.uint8)
    found = strong_view(images, StrongView(**{**NOTHING, "jitter": 1.0}, **amounts), keys(40))
    means = found.float().mean((1, 2, 3)) / images.float().mean((1, 2, 3))
    spreads = found.float().std((2, 3)).mean(1) / images.float().std((2, 3)).mean(1)
    acted = {"brightness": means, "contrast": spreads}.get(name)
    if acted is None:
        assert all(not torch.equal(one, other) for one, other in zip(found, images, strict=True))
        return
    assert 0.55 < acted.min() < 0.75
    assert 1.25 < acted.max() < 1.45


def test_shares_are_shares():
    images = noise(1, 16).expand(300, -1, -1, -1)
    found = strong_view(images, StrongView(**{**NOTHING, "grey": 0.2}), keys(300))
    changed = (found != images).flatten(1).any(1).float().mean()
    assert 0.12 < changed < 0.28
