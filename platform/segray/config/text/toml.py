"""Configs as TOML text that loads again: values, and whole configs with their defaults marked. Knows no config."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from segray.config import schema

NONE: Final = '"none"'
"""The text that the loader understands as None, for which TOML has no word."""
DEFAULT: Final = "  # default"
"""The end of a line that says no more than a config without it."""
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def literal(value: Any) -> str:
    """Return a value as TOML on one line; dataclasses and mappings become inline tables.

    Raises:
        TypeError: TOML has no form for such a value.
    """
    if dataclasses.is_dataclass(value):
        return literal({one.name: getattr(value, one.name) for one in schema.settings(type(value))})
    match value:
        case None:
            text = NONE
        case bool():
            text = str(value).lower()
        case int() | float():
            text = repr(value)
        case str():
            text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            pairs = ", ".join(f"{key(name)} = {literal(one)}" for name, one in value.items())
            text = f"{{ {pairs} }}" if pairs else "{}"
        case list() | tuple():
            text = f"[{', '.join(map(literal, value))}]"
        case _:
            raise TypeError(f"no TOML for {value!r}")
    return text


def key(name: str) -> str:
    """Return a key as TOML writes it, in quotes where it must be."""
    return name if _BARE.fullmatch(name) else literal(name)


def resolved(config: Any) -> str:
    """Return every setting of a config as TOML; lines that could be left out of its file end in `# default`.

    The text loads again to an equal config.
    """
    return "\n".join(_table(config, "", is_default=False)).lstrip() + "\n"


def _table(config: Any, path: str, *, is_default: bool) -> Iterator[str]:
    """Yield the lines of a table: first its values, then the tables below it.

    A table that is equal to the default of its key consists of defaults. In any other table the defaults are those of
    its class, which are what a file gets that names the table without them; only its kind cannot be left out.
    """
    values, tables = [], []
    for setting in schema.settings(type(config)):
        value = getattr(config, setting.name)
        same = is_default or (setting.name != "kind" and value == setting.default)
        if dataclasses.is_dataclass(value):
            tables.append(_table(value, f"{path}.{setting.name}".lstrip("."), is_default=same))
        else:
            values.append(f"{setting.name} = {literal(value)}{DEFAULT if same else ''}")
    if path and (values or not tables):
        yield f"\n[{path}]{DEFAULT if is_default else ''}"
    yield from values
    for table in tables:
        yield from table
