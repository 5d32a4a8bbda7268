"""Writes docs/configuration.md from the config classes: `python -m tools.docs.configuration`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from segray.config import schema
from segray.job_configs import JOBS
from tools.docs.types import type_words, value_text

CITATION = re.compile(r"docs/(?P<path>[\w/-]+\.md(?:#[\w-]+)?)")
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

INTRODUCTION = """\
# Configuration

Every key of every config file, with its type, its default and its meaning. `make docs-config` writes this page from the
docstrings of the config classes; a test keeps it current.

A config is a TOML file that describes one job: its first key is `job`. Keys without a default must be given. TOML has
no word for a missing value: write `"none"`. Commands take changes to a file as `key.path=value`, for example
`segray train CONFIG method.schedule.steps=1000`. `segray check CONFIG` lists all problems of a file at once.

Where a table comes in several kinds, its key `kind` chooses one. Tables that several places share are described once,
under [Shared tables](#shared-tables).
"""

Places = Mapping[type, list[str]]
"""Each config class with the places where it may stand, as "job: path"."""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


def page() -> str:
    """Return the page's text."""
    places: dict[type, list[str]] = {}
    for job, root in JOBS.items():
        for path, cls in schema.tables(root):
            found = places.setdefault(cls, [])
            if (place := f"{job}: {path}") not in found:
                found.append(place)
    shared = [cls for cls, found in places.items() if len(found) > 1]
    parts = [INTRODUCTION]
    for job, root in JOBS.items():
        own = dict.fromkeys(cls for _, cls in schema.tables(root) if cls not in shared)
        parts += _job(job, list(own), places)
    parts.append("## Shared tables\n")
    for cls in shared:
        parts.append(f"### {_title(cls, places)}\n\n{_used_at(places[cls])}\n\n{_table(cls, places)}")
    return CITATION.sub(r"[\g<0>](\g<path>)", "\n".join(parts))


def _job(job: str, classes: list[type], places: Places) -> Iterator[str]:
    """Yield a job's section and those of its own tables."""
    root, *tables = classes
    yield f"## {job}\n\n{_table(root, places)}"
    for cls in tables:
        yield f"### {_title(cls, places)}\n\n{_table(cls, places)}"


def _title(cls: type, places: Places) -> str:
    """Return the heading of a table's section, the same to no other's."""
    if len(places[cls]) > 1:
        return cls.__name__
    place = places[cls][0]
    others = [other for other, found in places.items() if place in found and other is not cls]
    if not others:
        return place
    kind = schema.kind(cls)
    return f"{place} ({cls.__name__})" if kind is None else f"{place} of kind {kind}"


def _anchor(title: str) -> str:
    """Return the anchor that Markdown gives a heading."""
    return "".join(one for one in title.lower().replace(" ", "-") if one.isalnum() or one in "-_")


def _used_at(places: list[str]) -> str:
    jobs: dict[str, list[str]] = {}
    for place in places:
        job, path = place.split(": ")
        jobs.setdefault(job, []).append(f"`{path}`")
    return "Stands at: " + "; ".join(f"{', '.join(paths)} of {job}" for job, paths in jobs.items()) + "."


def _table(cls: type, places: Places) -> str:
    """Describe a table: its class's docstring, and a line for each key."""
    about = "\n".join(line.strip() for line in (cls.__doc__ or "").strip().splitlines())
    lines = [_key(one, places) for one in schema.settings(cls)]
    return f"{about}\n\n" + "".join(lines)


def _key(setting: schema.Setting, places: Places) -> str:
    """Describe a key on one line: name, type, default, docstring."""
    default = "required" if setting.default is schema.MISSING else f"default {_default(setting.default)}"
    return f"- **`{setting.name}`** ({_type(setting.hint, places)}; {default}). {setting.description}".rstrip() + "\n"


def _default(value: Any) -> str:
    text = value_text(value)
    return "its defaults" if text == "{}" and not isinstance(value, Mapping) else f"`{text}`"


def _type(hint: Any, places: Places) -> str:
    """Describe a type, with links to its tables."""
    classes = schema.classes(hint)
    if not classes:
        return type_words(hint)
    if get_origin(hint) is Annotated:
        return _type(get_args(hint)[0], places)
    links = [f"[{schema.kind(cls) or 'table'}](#{_anchor(_title(cls, places))})" for cls in classes]
    others = [type_words(part) for part in get_args(hint) if part is not NoneType and not schema.classes(part)]
    words = [*others, f"table of kind {', '.join(links)}" if len(links) > 1 else links[0]]
    return ", or ".join([*words, '`"none"`'] if NoneType in get_args(hint) else words)


if __name__ == "__main__":
    main()
