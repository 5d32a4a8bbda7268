"""Image-level tags: which classes an image shows, read from a COCO file, a CSV file, or the names of folders."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from segray.config.tags import CocoTags, CsvTags, FolderTags, Tags
from segray.errors import SourceError
from segray.formats.coco.document import read_document
from segray.formats.source import refuse
from segray.storage import files
from segray.tally import Reason, Tally

UNTAGGED = Reason("untagged", "have no tags and are left out")
ELSEWHERE = Reason("elsewhere", "are not among the images of the source and are left out")
REPEATED = Reason("repeated", "have the image_id of an earlier row: the tags of both count")


@dataclass(frozen=True, kw_only=True)
class ImageTags:
    """What is known of images."""

    classes: tuple[str, ...]
    """Class names; without the background."""
    of: Mapping[str, tuple[int, ...]]
    """Rising indices into the classes by image id; images that nothing is known of are not in here."""
    tally: Tally
    """What was read, and what of it was left out and why."""

    @property
    def fingerprint(self) -> str:
        """Hash of all of it."""
        text = json.dumps([self.classes, sorted(self.of.items())])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_tags(config: Tags, image_ids: Iterable[str]) -> ImageTags:
    """The tags of these images.

    Raises:
        SourceError: they cannot be read, or none of them is about any of the images.
    """
    tally, image_ids = Tally(), list(image_ids)
    match config:
        case CocoTags():
            named, classes = _of_coco(config.coco.annotations)
        case CsvTags():
            named, classes = _of_csv(config.uri, tally), ()
        case FolderTags():
            named, classes = _of_folders(image_ids), ()
        case _:
            assert_never(config)
    _count(tally, named, image_ids)
    classes = classes or tuple(sorted({name for names in named.values() for name in names}))
    of = {
        image_id: tuple(sorted({classes.index(name) for name in named[image_id]}))
        for image_id in image_ids
        if image_id in named
    }
    if not any(of.values()):
        raise SourceError(f"tags of kind {config.kind!r} say nothing of any image; are ids as the source has them?")
    return ImageTags(classes=classes, of=of, tally=tally)


def _count(tally: Tally, named: Mapping[str, Sequence[str]], image_ids: Sequence[str]) -> None:
    """Count images with and without tags, and tags of images that are not among these."""
    for image_id in image_ids:
        if image_id in named:
            tally.use("images")
        else:
            tally.leave_out("images", UNTAGGED, image_id)
    known = set(image_ids)
    for image_id in named:
        if image_id in known:
            tally.use("tagged images")
        else:
            tally.leave_out("tagged images", ELSEWHERE, image_id)


def _of_coco(uri: str) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    document = read_document(uri)
    categories = {one["id"]: one["name"] for one in sorted(document.get("categories", []), key=lambda one: one["id"])}
    names = {image["id"]: image["file_name"] for image in document["images"]}
    named: dict[str, list[str]] = {name: [] for name in names.values()}
    for annotation in document.get("annotations", []):
        named[names[annotation["image_id"]]].append(categories[annotation["category_id"]])
    return named, tuple(dict.fromkeys(categories.values()))


def _of_csv(uri: str, tally: Tally) -> dict[str, list[str]]:
    """Return the tags by image; several rows of an image add up."""
    try:
        rows = list(csv.DictReader(io.StringIO(files.read_bytes(uri).decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{uri}: not CSV in UTF-8 ({error})") from error
    lacking = [
        f"row {number}: no image_id or no tags column"
        for number, row in enumerate(rows, start=2)
        if not row.get("image_id") or row.get("tags") is None
    ]
    refuse(uri, lacking)
    named: dict[str, list[str]] = {}
    for row in rows:
        tally.use("rows")
        if row["image_id"] in named:
            tally.note("rows", REPEATED, row["image_id"])
        named.setdefault(row["image_id"], []).extend(tag.strip() for tag in row["tags"].split(";") if tag.strip())
    return named


def _of_folders(image_ids: Iterable[str]) -> dict[str, list[str]]:
    return {image_id: [image_id.split("/")[0]] for image_id in image_ids if "/" in image_id}
