"""A COCO file's content: read, its ids and flags made numbers, and checked as far as its parts belong together.

Ids and flags are taken as numbers and as texts: writers of COCO files disagree. Knows no masks and no images.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from segray.formats.source import flag, name_problem, read_json, refuse

_WHOLE = re.compile(r"-?[0-9]{1,18}")


def read_document(uri: str) -> dict[str, Any]:
    """Return a COCO file's content. Ids are whole numbers in it, and `iscrowd` is 0 or 1 where it is given.

    Raises:
        SourceError: not COCO; one line per problem.
    """
    document = read_json(uri)
    refuse(uri, _shape_problems(document))
    _make_numbers(document)
    refuse(uri, _entry_problems("images", document["images"], "file_name", ("id", "file_name")))
    refuse(uri, _entry_problems("categories", document.get("categories", []), "name", ("id",)))
    refuse(uri, _annotation_problems(document))
    return dict(document)


def whole_number(value: object) -> object:
    """Return a text of digits as the number that it says; anything else as it is."""
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value


def _make_numbers(document: Mapping[str, Any]) -> None:
    """Write the numbers that ids and flags stand for in their places."""
    for key, fields in (
        ("images", ("id",)),
        ("categories", ("id",)),
        ("annotations", ("id", "image_id", "category_id")),
    ):
        for entry in document.get(key) or []:
            if isinstance(entry, dict):
                entry.update({field: whole_number(entry[field]) for field in fields if field in entry})
    for annotation in document.get("annotations") or []:
        if isinstance(annotation, dict) and "iscrowd" in annotation:
            annotation["iscrowd"] = flag(annotation["iscrowd"])


def _shape_problems(document: object) -> list[str]:
    """What keeps images and categories from being read."""
    if not isinstance(document, dict):
        return [f"a COCO file is an object with images, annotations and categories, this one is a {_kind(document)}"]
    needed = ["images", *(["categories"] if document.get("annotations") else [])]
    problems = [f"{key}: missing" for key in needed if key not in document]
    lists = {key: document.get(key, []) for key in ("images", "annotations", "categories")}
    problems += [f"{key}: must be a list, got {_kind(v)}" for key, v in lists.items() if not isinstance(v, list)]
    return problems


def _entry_problems(key: str, entries: Sequence[object], name: str, unique: tuple[str, ...]) -> list[str]:
    """Entries without an id, without a name, or with what another one has."""
    problems: list[str] = []
    taken: dict[str, set[object]] = {field: set() for field in unique}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            problems.append(f"{key}[{index}]: must be an object, got {_kind(entry)}")
            continue
        wrong = None if isinstance(entry.get("id"), int) else f"is {entry.get('id')!r}, it must be a whole number"
        for field, why in (("id", wrong), (name, name_problem(entry.get(name)))):
            if why:
                problems.append(f"{key}[{index}].{field} {why}")
            elif field in taken and entry[field] in taken[field]:
                problems.append(f"{key}[{index}].{field} {entry[field]!r}: there is another one")
            elif field in taken:
                taken[field].add(entry[field])
    return problems


def _annotation_problems(document: Mapping[str, Any]) -> list[str]:
    """Return the annotations of no image or no category, and those whose `iscrowd` is neither 0 nor 1."""
    known = {"image_id": _ids(document["images"]), "category_id": _ids(document.get("categories", []))}
    problems = []
    for index, annotation in enumerate(document.get("annotations", [])):
        if not isinstance(annotation, dict):
            problems.append(f"annotations[{index}]: must be an object, got {_kind(annotation)}")
            continue
        for key, ids in known.items():
            value = annotation.get(key)
            if not isinstance(value, int) or value not in ids:
                problems.append(f"annotations[{index}].{key} is {value!r}, which the file does not list")
        if (crowd := annotation.get("iscrowd", 0)) not in (0, 1):
            problems.append(f"annotations[{index}].iscrowd is {crowd!r}, it must be 0 or 1")
    return problems


def _ids(entries: Sequence[Mapping[str, Any]]) -> set[int]:
    return {entry["id"] for entry in entries}


def _kind(value: object) -> str:
    return {dict: "object", list: "list", str: "text", type(None): "null"}.get(type(value), type(value).__name__)
