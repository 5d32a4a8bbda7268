"""Feature perturbation: channels dropped per image, complementary pairs, and images that are left alone."""

import numpy as np
import pytest
import torch

from segray import keyed_random
from segray.methods.unimatch.perturbation import ChannelScaling, channel_dropout, complementary_dropout, unperturbed

KEYS = [keyed_random.key("test", index) for index in range(12)]
MAPS = tuple(torch.ones(3, width, 2, 2) for width in (8, 32, 32))


@pytest.mark.parametrize("width", [1, 7, 384])
def test_a_pair_of_masks_adds_up_to_two(width):
    for key in KEYS:
        first, second = (complementary_dropout(key, second=which)(0, width) for which in (False, True))
        assert np.array_equal(first + second, np.full(width, 2.0))
        assert set(first) <= {0.0, 2.0}


def test_a_pair_loses_the_same_channels_on_all_levels_of_one_width():
    factors = complementary_dropout(KEYS[0], second=False)
    assert np.array_equal(factors(0, 384), factors(3, 384))
    assert 150 < factors(0, 384).sum() / 2 < 234
    assert not np.array_equal(factors(0, 384), complementary_dropout(KEYS[1], second=False)(0, 384))


def test_dropout_draws_for_every_level_and_keeps_the_mean():
    factors = channel_dropout(KEYS[0], 0.25)
    first, second = factors(0, 4000), factors(1, 4000)
    assert not np.array_equal(first, second)
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    assert first.mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("group", [2, 4, 6])
def test_exactly_half_of_each_group_is_spared(group):
    found = unperturbed(KEYS, group)
    assert [sum(found[start : start + group]) for start in range(0, 12, group)] == [group // 2] * (12 // group)
    assert unperturbed(KEYS[group : 2 * group], group) == found[group : 2 * group]


def test_images_are_scaled_by_their_own_factors_on_all_pixels():
    factors = [None, channel_dropout(KEYS[1], 0.5), complementary_dropout(KEYS[2], second=True)]
    for level, (given, scaled) in enumerate(zip(MAPS, ChannelScaling(factors)(MAPS), strict=True)):
        assert torch.equal(scaled[0], given[0])
        for index in (1, 2):
            own = torch.from_numpy(factors[index](level, given.shape[1]))[:, None, None].expand(-1, 2, 2)
            assert torch.equal(scaled[index], own)


def test_where_nothing_is_dropped_maps_stay_what_they_are():
    assert ChannelScaling([None, None, None])(MAPS) is MAPS
