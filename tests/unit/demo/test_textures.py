"""Every texture fills any rectangle with values in its range."""

import numpy as np
import pytest

from segray.demo.textures import FAMILY_TEXTURES, FIELDS, draw_material, paint


@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_every_texture_varies_within_its_range(kind: str) -> None:
    rng = np.random.default_rng(0)
    family = "a" if kind in FAMILY_TEXTURES["a"] else "b"
    material = draw_material(rng, family, 64.0)
    for height, width, wavelength in ((64, 48, 8.0), (3, 5, 4.0)):
        field = FIELDS[kind](height, width, rng, wavelength)
        assert field.shape == (height, width)
        assert field.min() >= 0
        assert field.max() <= 1.0001
        assert height < 10 or field.std() > 0.02
    assert paint(material, 20, 30, rng).shape == (20, 30, 3)
