"""Splits of a COCO file into labeled and unlabeled images, or training and validation, that anyone can make again.

Images that belong together form a group and never stand on both sides. A seed puts the groups in one order, by hashes
of their file names: first those that bring classes not seen before, as many a time as possible, then the rest. A split
is a beginning of that order; so for one seed every smaller share is part of every larger one. Knows no methods.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segray import keyed_random
from segray.errors import ConfigError, SourceError
from segray.formats.coco import CocoSource
from segray.formats.coco.reader import CocoImages
from segray.images import near_duplicates
from segray.storage import files, names
from segray.tally import Reason, Tally

NO_MASK = Reason("no-mask", "have no mask")
WITHOUT_SIZE = Reason("without-size", "have no height and width in the file, so that their annotations are not read")

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """What makes images belong together; where several things do, any of them is enough."""

    pattern: str | None = None
    """Regular expression searched in file names: equal first group (or whole match), one group."""
    field: str | None = None
    """Entry of the file's images, such as a slide or video: equal value, one group."""
    near_bits: int | None = None
    """Bits of 64 in which perceptual hashes of near-duplicates may differ; 6 is usual. Decodes every image."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """A file's images, in two parts."""

    share: float
    """The share of images that was asked for."""
    first: tuple[str, ...]
    """File names of about that share: labeled images, or training images."""
    second: tuple[str, ...]
    """The others."""


class Splitter:
    """One seed's order of a COCO file's groups."""

    def __init__(self, source: CocoSource, seed: int, grouping: Grouping = Grouping()) -> None:
        """Read the file and put its groups in order.

        Raises:
            SourceError: the file is not COCO.
            ConfigError: a grouping that fits no image.
            ImageError: an image that near-duplicates are to be found of cannot be read.
        """
        self.source, self.seed, self.grouping = source, seed, grouping
        images = CocoImages(source)
        self.document: Document = images.document
        self.tally = _counted(images)
        """What the file holds, and what of it other jobs will leave out."""
        self.names = tuple(image["file_name"] for image in self.document["images"])
        groups = _groups(self.document, source, grouping)
        self.number = int(groups.max(initial=-1)) + 1
        rank = np.empty(self.number, dtype=np.int64)
        taken = [one for one in self.document.get("annotations", []) if not images.is_crowd(one)]
        rank[_order({**self.document, "annotations": taken}, groups, seed)] = np.arange(self.number)
        self._rank = rank[groups]
        """Of each image's group."""

    def split(self, share: float) -> Split:
        """The groups that come first, as many as come closest to a share of the images, and the others.

        Raises:
            ConfigError: no share, or there are fewer than two groups.
        """
        if not 0 < share < 1:
            raise ConfigError(f"share is {share}, it must lie between 0 and 1")
        if self.number < 2:
            raise ConfigError(
                f"{self.source.annotations}: {len(self.names)} images in {self.number} group: no two parts"
            )
        sizes = np.cumsum(np.bincount(self._rank))[:-1]
        taken = self._rank <= int(np.argmin(np.abs(sizes - share * len(self.names))))
        first, second = (tuple(np.array(self.names, dtype=object)[side]) for side in (taken, ~taken))
        return Split(share=share, first=first, second=second)


def write_shares(splitter: Splitter, shares: Sequence[float], folder: str) -> list[Split]:
    """`labeled-SHARE.json`, `unlabeled-SHARE.json` without annotations, and `split.json`.

    What the unlabeled ones hide is in `hidden-SHARE.json`, to measure pseudo-labels with and for nothing else.
    """
    splits = [splitter.split(share) for share in shares]
    for one in splits:
        _write(splitter.document, one.first, files.join(folder, f"labeled-{one.share:g}.json"))
        _write(splitter.document, one.second, files.join(folder, f"hidden-{one.share:g}.json"))
        bare = {**splitter.document, "annotations": []}
        _write(bare, one.second, files.join(folder, f"unlabeled-{one.share:g}.json"))
    _write_manifest(splitter, splits, ("labeled", "unlabeled"), folder)
    return splits


def write_holdout(splitter: Splitter, share: float, folder: str) -> Split:
    """`val.json` with a share of the images and `training.json` with the others, both annotated, and `split.json`.

    Classes of which there is little go to training.
    """
    split = splitter.split(1 - share)
    _write(splitter.document, split.first, files.join(folder, "train.json"))
    _write(splitter.document, split.second, files.join(folder, "val.json"))
    _write_manifest(splitter, [split], ("train", "val"), folder)
    return split


def _counted(images: CocoImages) -> Tally:
    """Read all annotations, so that what is broken is known before it is split."""
    shown: set[int] = set()
    for image_id in images.annotated:
        images.tally.use("images")
        try:
            found = images.instances(image_id)
        except SourceError:
            images.tally.note("images", WITHOUT_SIZE, image_id)
            continue
        shown |= set(found.classes.tolist()) if found is not None else set()
    for index, name in enumerate(images.classes):
        if index in shown:
            images.tally.use("classes")
        else:
            images.tally.leave_out("classes", NO_MASK, name)
    return images.tally


def _groups(document: Document, source: CocoSource, grouping: Grouping) -> npt.NDArray[np.int64]:
    """Each image's group, numbered from 0."""
    images = document["images"]
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    if grouping.pattern is not None:
        pairs.append(_equal([_matched(grouping.pattern, image["file_name"]) for image in images], grouping.pattern))
    if grouping.field is not None:
        values = [image.get(grouping.field) for image in images]
        pairs.append(_equal([None if value is None else json.dumps(value) for value in values], grouping.field))
    if grouping.near_bits is not None:
        folder, paths = files.absolute(source.uri), [image["file_name"] for image in images]
        uris = names.resolve_all(folder, paths, outside=source.outside)
        found = near_duplicates.hashes([uris[path] for path in paths])
        pairs.append(near_duplicates.similar_pairs(found, grouping.near_bits))
    first, second = np.concatenate(pairs).T
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(images), len(images)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _matched(pattern: str, name: str) -> str | None:
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(f"pattern {pattern!r} is no regular expression: {error}") from error
    return found.group(1 if found.re.groups else 0) if found else None


def _equal(values: Sequence[str | None], what: str) -> npt.NDArray[np.int64]:
    """Pairs (P, 2) that tie together all indices of equal values; None equals nothing.

    Raises:
        ConfigError: there is no value at all.
    """
    firsts: dict[str, int] = {}
    pairs = [(firsts.setdefault(value, at), at) for at, value in enumerate(values) if value is not None]
    if not pairs:
        raise ConfigError(f"{what!r} is found in none of {len(values)} images: nothing to group by")
    return np.array(pairs, dtype=np.int64)


def _order(document: Document, groups: npt.NDArray[np.int64], seed: int) -> list[int]:
    """Groups, those first that show classes not yet shown: most new classes per image, ties and the rest by hash."""
    index = {image["id"]: at for at, image in enumerate(document["images"])}
    categories = {category["id"]: at for at, category in enumerate(document.get("categories", []))}
    shown = np.zeros((len(set(groups.tolist())), len(categories)), dtype=np.bool_)
    for annotation in document["annotations"]:
        shown[groups[index[annotation["image_id"]]], categories[annotation["category_id"]]] = True
    names: dict[int, str] = {}
    for group, image in zip(groups.tolist(), document["images"], strict=True):
        names[group] = min(names.get(group, image["file_name"]), image["file_name"])
    order = np.array(sorted(names, key=lambda group: keyed_random.key(seed, "split", names[group])), dtype=np.int64)
    shown, sizes = shown[order], np.bincount(groups)[order]
    missing, first = shown.any(0), []
    while missing.any():
        first.append(int(np.argmax(shown[:, missing].sum(1) / sizes)))
        missing &= ~shown[first[-1]]
    return [int(order[at]) for at in [*first, *sorted(set(range(len(order))) - set(first))]]


def _write(document: Document, names: Sequence[str], uri: str) -> None:
    """The part of a COCO file that is about some images."""
    kept = set(names)
    images = [image for image in document["images"] if image["file_name"] in kept]
    ids = {image["id"] for image in images}
    annotations = [one for one in document.get("annotations", []) if one["image_id"] in ids]
    files.write_bytes_atomic(uri, json.dumps({**document, "images": images, "annotations": annotations}).encode())


def _write_manifest(splitter: Splitter, splits: Sequence[Split], parts: tuple[str, str], folder: str) -> None:
    """How the split was made, and what it must be when it is made again."""
    about = {
        "annotations": splitter.source.annotations,
        "seed": splitter.seed,
        "grouping": asdict(splitter.grouping),
        "images": len(splitter.names),
        "groups": splitter.number,
        "tally": splitter.tally.to_json(),
        "splits": [
            {
                "share": one.share,
                **{
                    part: _about(splitter.document, side)
                    for part, side in zip(parts, (one.first, one.second), strict=True)
                },
            }
            for one in splits
        ],
    }
    files.write_bytes_atomic(files.join(folder, "split.json"), json.dumps(about, indent=1).encode())


def _about(document: Document, names: Sequence[str]) -> dict[str, Any]:
    """Size, what is missing, and a hash of one part."""
    kept = set(names)
    ids = {image["id"] for image in document["images"] if image["file_name"] in kept}
    shown = {one["category_id"] for one in document.get("annotations", []) if one["image_id"] in ids}
    missing = [one["name"] for one in document.get("categories", []) if one["id"] not in shown]
    digest = hashlib.blake2b("\n".join(sorted(names)).encode(), digest_size=16).hexdigest()
    return {"images": len(names), "missing_classes": missing, "names_hash": digest}
