import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from segray.datasets.splits import Grouping, Splitter, write_holdout, write_shares
from segray.errors import ConfigError, ImageError, SourceError
from segray.formats.coco import CocoSource
from segray.formats.coco.reader import CocoImages
from segray.testing import write_coco


def described(folder: Path, images: list[tuple[str, str | None, str]]) -> CocoSource:
    """A COCO file of images that nobody opens: file name, slide, classes as letters."""
    letters = sorted({letter for _, _, classes in images for letter in classes})
    document = {
        "info": {"year": 2018},
        "images": [
            {"id": at, "file_name": name, "height": 8, "width": 8, **({"slide": slide} if slide else {})}
            for at, (name, slide, _) in enumerate(images)
        ],
        "categories": [{"id": at, "name": letter} for at, letter in enumerate(letters)],
        "annotations": [
            {"id": 100 * at + place, "image_id": at, "category_id": letters.index(letter), "segmentation": []}
            for at, (_, _, classes) in enumerate(images)
            for place, letter in enumerate(classes)
        ],
    }
    (folder / "all.json").write_text(json.dumps(document))
    return CocoSource(uri=str(folder), annotations=str(folder / "all.json"))


def plain(number: int) -> list[tuple[str, str | None, str]]:
    return [(f"{at:03d}.png", None, "a" if at % 3 else "") for at in range(number)]


@pytest.mark.parametrize("seed", range(5))
def test_smaller_shares_are_part_of_larger_ones(tmp_path, seed):
    splitter = Splitter(described(tmp_path, plain(200)), seed)
    shares = [0.005, 0.05, 0.1, 0.5, 0.995]
    splits = [splitter.split(share) for share in shares]
    assert [len(one.first) for one in splits] == [1, 10, 20, 100, 199]
    for small, large in pairwise(splits):
        assert set(small.first) < set(large.first)
    for one in splits:
        assert sorted([*one.first, *one.second]) == [name for name, _, _ in plain(200)]


def test_a_split_is_its_seeds_and_not_its_files_order(tmp_path):
    images = plain(60)
    first = Splitter(described(tmp_path, images), 1).split(0.2)
    turned = Splitter(described(tmp_path, images[::-1]), 1).split(0.2)
    assert set(first.first) == set(turned.first)
    assert set(first.first) != set(Splitter(described(tmp_path, images), 2).split(0.2).first)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("share", "most"), [(0.02, 2), (0.04, 4), (0.1, 6)])
def test_every_class_that_can_be_is_labeled(tmp_path, seed, share, most):
    """Six rare classes, each in two of 100 images, two to an image at best."""
    pairs = ["bc", "de", "fg"]
    rare = [*pairs, *(letter for pair in pairs for letter in pair)]
    images = [(f"{at:03d}.png", None, rare[at // 10] + "a" if at % 10 == 0 and at < 90 else "a") for at in range(100)]
    split = Splitter(described(tmp_path, images), seed).split(share)
    classes = {letter for name, _, letters in images if name in split.first for letter in letters}
    assert len(classes - {"a"}) >= min(6, 2 * most)
    assert len(split.first) == 100 * share


@pytest.mark.parametrize(
    ("grouping", "group_of"),
    [
        (Grouping(field="slide"), lambda name, slide: slide or name),
        (Grouping(pattern=r"^(\w)-"), lambda name, _: name[0]),
        (Grouping(pattern=r"^\w-"), lambda name, _: name[0]),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_a_group_stands_on_one_side(tmp_path, grouping, group_of, seed):
    images = [(f"{'abcdefgh'[at % 8]}-{at:03d}.png", f"s{at // 5}" if at % 10 else None, "x") for at in range(80)]
    for share in (0.1, 0.3, 0.7):
        split = Splitter(described(tmp_path, images), seed, grouping).split(share)
        sides = [
            {group_of(name, slide) for name, slide, _ in images if name in side} for side in (split.first, split.second)
        ]
        assert not sides[0] & sides[1]
        assert abs(len(split.first) - share * 80) <= 5


def test_groupings_add_up(tmp_path):
    images = [("a-1", "s", ""), ("b-1", "s", ""), ("b-2", None, ""), ("c-1", None, ""), ("c-2", "t", "")]
    splitter = Splitter(described(tmp_path, images), 0, Grouping(field="slide", pattern="^(.)-"))
    assert splitter.number == 2
    assert {frozenset(splitter.split(0.5).first), frozenset(splitter.split(0.5).second)} == {
        frozenset({"a-1", "b-1", "b-2"}),
        frozenset({"c-1", "c-2"}),
    }


def test_an_image_that_cannot_be_compared_is_named(tmp_path):
    write_coco(tmp_path, 3)
    source = CocoSource(uri=str(tmp_path / "images"), annotations=str(tmp_path / "instances.json"))
    cut = tmp_path / "images" / "00001.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    with pytest.raises(ImageError, match=r"damaged: .*/00001\.png: "):
        Splitter(source, 0, Grouping(near_bits=6))


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "zip://a.png::https://host/a.zip"])
def test_images_that_the_file_names_elsewhere_are_not_compared(tmp_path, name):
    with pytest.raises(SourceError, match="are not opened"):
        Splitter(described(tmp_path, [(name, None, "a")]), 0, Grouping(near_bits=6))


def test_near_duplicates_stand_together(tmp_path):
    source = write_coco(tmp_path, 12)
    for at in range(0, 12, 2):
        shutil.copy(Path(source.uri) / f"{at:05d}.png", Path(source.uri) / f"{at + 1:05d}.png")
    splitter = Splitter(source, 3, Grouping(near_bits=6))
    assert splitter.number == 6
    for share in (0.2, 0.5, 0.8):
        assert {int(name[:5]) // 2 for name in splitter.split(share).first}.isdisjoint(
            {int(name[:5]) // 2 for name in splitter.split(share).second}
        )


def test_written_shares_are_coco_files_without_hidden_truth(tmp_path):
    source = write_coco(tmp_path, 40)
    splits = write_shares(Splitter(source, 1), [0.1, 0.25], str(tmp_path / "split"))
    whole = CocoImages(source)
    assert sorted(path.name for path in (tmp_path / "split").iterdir()) == [
        "hidden-0.1.json",
        "hidden-0.25.json",
        "labeled-0.1.json",
        "labeled-0.25.json",
        "split.json",
        "unlabeled-0.1.json",
        "unlabeled-0.25.json",
    ]
    for one in splits:
        labeled, unlabeled = (
            CocoImages(CocoSource(uri=source.uri, annotations=str(tmp_path / "split" / f"{part}-{one.share}.json")))
            for part in ("labeled", "unlabeled")
        )
        assert set(labeled.annotated) == set(one.first)
        assert set(unlabeled.annotated) == set(one.second)
        assert labeled.classes == whole.classes
        for name in one.first:
            assert labeled.instances(name).counts.tolist() == whole.instances(name).counts.tolist()
        assert not any(len(unlabeled.instances(name)) for name in one.second)
        hidden = CocoImages(
            CocoSource(uri=source.uri, annotations=str(tmp_path / "split" / f"hidden-{one.share}.json"))
        )
        assert set(hidden.annotated) == set(one.second)
        for name in one.second:
            assert hidden.instances(name).counts.tolist() == whole.instances(name).counts.tolist()
    about = json.loads((tmp_path / "split" / "split.json").read_text())
    assert (about["seed"], about["images"], about["groups"]) == (1, 40, 40)
    assert [one["labeled"]["images"] for one in about["splits"]] == [4, 10]
    assert len({one["labeled"]["names_hash"] for one in about["splits"]}) == 2


def test_holdout_keeps_annotations_and_gives_rare_classes_to_training(tmp_path):
    images = [(f"{at:03d}.png", None, "az" if at == 17 else "a") for at in range(50)]
    for seed in range(5):
        split = write_holdout(Splitter(described(tmp_path, images), seed), 0.2, str(tmp_path / "split"))
        assert (len(split.first), len(split.second)) == (40, 10)
        assert "017.png" in split.first
    parts = {name: json.loads((tmp_path / "split" / f"{name}.json").read_text()) for name in ("train", "val")}
    assert {name: len(part["annotations"]) for name, part in parts.items()} == {"train": 41, "val": 10}
    assert all(part["info"] == {"year": 2018} for part in parts.values())


@pytest.mark.parametrize(
    ("images", "grouping", "share", "message"),
    [
        (plain(5), Grouping(), 0.0, "share is 0.0"),
        (plain(5), Grouping(), 1.0, "share is 1.0"),
        (plain(1), Grouping(), 0.5, "1 images in 1 group"),
        ([], Grouping(), 0.5, "0 images in 0 group"),
        (plain(5), Grouping(pattern=r"\.png"), 0.5, "5 images in 1 group"),
        (plain(5), Grouping(pattern="("), 0.5, "no regular expression"),
        (plain(5), Grouping(pattern="slide"), 0.5, "'slide' is found in none of 5"),
        (plain(5), Grouping(field="slide"), 0.5, "'slide' is found in none of 5"),
    ],
)
def test_what_cannot_be_split_is_refused(tmp_path, images, grouping, share, message):
    with pytest.raises(ConfigError, match=message):
        Splitter(described(tmp_path, images), 0, grouping).split(share)
