"""Types and values of settings in plain words. Knows no particular config."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from segray.config import schema
from segray.config.uris import UriRole

LIMITS = {"ge": "from {}", "gt": "above {}", "le": "up to {}", "lt": "and below {}", "multiple_of": "in steps of {}"}
"""Words for the limits of a number, in the order in which they are written."""
SCALARS = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}


def type_words(hint: Any) -> str:
    """Describe a type without tables, for example "whole number from 1, or "none"".

    Raises:
        TypeError: the type is not one that configs use; describe it here.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(parts[0], parts[1:])
    if origin is Literal:
        return " or ".join(f"`{value_text(value)}`" for value in parts)
    if origin in (Union, UnionType):
        given = [type_words(part) for part in parts if part is not NoneType]
        return ", or ".join([*given, '`"none"`'] if NoneType in parts else given)
    if origin is tuple:
        return f"list{'' if parts[-1] is Ellipsis else f' of {len(parts)}'}, each: {type_words(parts[0])}"
    if origin is Mapping or origin is dict:
        return "table" if parts[1] is Any else f"table by name, each: {type_words(parts[1])}"
    if hint in SCALARS:
        return SCALARS[hint]
    raise TypeError(f"{hint}: there are no words for this type")


def value_text(value: Any) -> str:
    """Return a value as it is written in TOML; a table lists only what differs from its class's defaults."""
    if dataclasses.is_dataclass(value):
        return _table(value)
    if value is None:
        return '"none"'
    if isinstance(value, float):
        return f"{value:.4g}" if value != int(value) or abs(value) >= 1e6 else f"{value:.1f}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return json.dumps(value)


def _annotated(base: Any, notes: Iterable[Any]) -> str:
    """Describe a type with limits or a role."""
    if any(isinstance(note, UriRole) for note in notes):
        return "path or URI"
    limits: dict[str, Any] = {}
    for note in notes:
        for one in (note, *getattr(note, "metadata", ())):
            limits |= {key: getattr(one, key) for key in LIMITS if getattr(one, key, None) is not None}
    return " ".join(
        [type_words(base), *(text.format(value_text(limits[key])) for key, text in LIMITS.items() if key in limits)]
    )


def _table(value: Any) -> str:
    """Return the keys of a table that are not at their defaults, and the kind."""
    given = {
        one.name: getattr(value, one.name)
        for one in schema.settings(type(value))
        if one.name == "kind" or getattr(value, one.name) != one.default
    }
    inside = ", ".join(f"{key} = {value_text(one)}" for key, one in given.items())
    return f"{{ {inside} }}" if inside else "{}"
