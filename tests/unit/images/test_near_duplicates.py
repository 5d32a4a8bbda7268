import numpy as np
import pytest
from PIL import Image

from segray.images.near_duplicates import hashes, perceptual_hash, similar_pairs


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


def bits(first, second):
    return int(np.bitwise_count(np.uint64(first) ^ np.uint64(second)))


def compressed(image, folder):
    image.save(folder / "a.jpg", quality=40)
    return Image.open(folder / "a.jpg")


@pytest.mark.parametrize(
    "change",
    [
        lambda image, _: image.resize((80, 60)),
        lambda image, _: image.resize((300, 200)),
        compressed,
        lambda image, _: image.point(lambda value: min(255, value + 8)),
        lambda image, _: image.convert("L").convert("RGB"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_differ_in_few_bits(change, seed, tmp_path):
    image = picture(seed)
    assert bits(perceptual_hash(np.array(image)), perceptual_hash(np.array(change(image, tmp_path)))) <= 6


def test_other_pictures_differ_in_many():
    found = [perceptual_hash(np.array(picture(seed))) for seed in range(30)]
    assert min(bits(one, other) for at, one in enumerate(found) for other in found[:at]) > 12
    assert all(20 <= one.bit_count() <= 44 for one in found)


@pytest.mark.parametrize("block", [1, 50, 1 << 24])
@pytest.mark.parametrize("most_bits", [0, 3, 28])
def test_pairs_are_all_pairs(monkeypatch, block, most_bits):
    monkeypatch.setattr("segray.images.near_duplicates._BLOCK", block)
    found = np.random.default_rng(0).integers(0, 1 << 63, 40, dtype=np.uint64)
    found[[7, 30]] = found[3], found[8] ^ np.uint64(0b101)
    expected = [[a, b] for a in range(40) for b in range(a + 1, 40) if bits(found[a], found[b]) <= most_bits]
    assert similar_pairs(found, most_bits).tolist() == expected
    assert len(expected) >= 1


def test_hashes_are_of_files(tmp_path):
    for seed in range(3):
        picture(seed).save(tmp_path / f"{seed}.png")
    found = hashes([str(tmp_path / f"{seed}.png") for seed in range(3)])
    assert found.tolist() == [perceptual_hash(np.array(picture(seed))) for seed in range(3)]
