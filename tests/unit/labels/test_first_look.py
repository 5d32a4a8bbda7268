"""The look at a few images before a label job: what it proves, and that nothing is spent after it."""

import pytest

from segray.config.base import build
from segray.config.label import LabelConfig
from segray.errors import DamageError
from segray.jobs.label import label
from segray.store import catalog
from segray.testing import write_images


@pytest.fixture
def config(tmp_path):
    """`config(**changes)`: a label job over four images and four files that are none, in this process."""
    write_images(tmp_path / "images", 4)
    for number in range(4):
        (tmp_path / "images" / f"bad-{number}.png").write_bytes(b"no image")

    def make(**changes):
        tables = {
            "job": "label",
            "stores": str(tmp_path / "stores"),
            "source": {"kind": "folder", "uri": str(tmp_path / "images")},
            "masks": {"mode": "fast", "points_per_side": 2},
            "workers": {"num_workers": 0},
        }
        return build(LabelConfig, tables | changes, "test")

    return make


def test_a_job_that_surely_meets_too_much_damage_does_not_begin(config, tmp_path):
    with pytest.raises(DamageError, match=r"a sample of 8 images: 4 of 8 images \(50.0%\)") as caught:
        label(config())
    assert "are refused: not-an-image" in str(caught.value)
    assert [one.images for one in catalog(str(tmp_path / "stores"))] == [0]


def test_a_sample_shows_the_damage_and_a_larger_bound_allows_it(config):
    assert label(config(sample=2)).images == 2
    summary = label(config(max_damaged=0.5))
    assert summary.store_refused_share == 0.5
    assert summary.tallies["images"]["images"].read == 6
