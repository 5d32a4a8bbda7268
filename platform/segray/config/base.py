"""Loading and naming configs: TOML plus overrides onto a dataclass, problems as lines for people, fingerprints.

Knows nothing of any particular config; `job_configs` lists those.
"""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from segray.errors import ConfigError

T = TypeVar("T")

SETTINGS = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_default=True)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass that checks its fields and refuses unknown ones."""
    return cast(type[T], pydantic_dataclass(frozen=True, kw_only=True, config=SETTINGS)(cls))


Overrides = Sequence[str] | Mapping[str, Any]
"""Changes to a file's tables: texts `key.path=value`, or values by key (see `overridden`)."""


def read(path: Path, overrides: Overrides = ()) -> dict[str, Any]:
    """The file's tables with overrides applied.

    Raises:
        ConfigError: no such file, not TOML, or an override that is not `key.path=value`.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return overridden(tables, overrides)


def overridden(tables: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Return tables with overrides applied.

    Texts are `key.path=value`, values parsed as TOML (a bare word is a string). In a mapping `__` stands for the dot,
    as in Python's keyword arguments, values are taken as they are, and a mapping goes into the table that it names key
    by key. The value "none", for which TOML has no word of its own, becomes None.

    Raises:
        ConfigError: an override that is not `key.path=value`, or one below a value that is no table.
    """
    changed = deepcopy(dict(tables))
    if isinstance(overrides, Mapping):
        _merge(changed, overrides)
    else:
        for override in overrides:
            _apply(changed, override)
    return _with_nones(changed)


def build(cls: type[T], tables: Mapping[str, Any], where: str) -> T:
    """Tables onto the dataclass.

    Raises:
        ConfigError: one line per problem, with the dotted path, what was given and what is allowed.
    """
    try:
        return pydantic.TypeAdapter(cls).validate_python(tables)
    except pydantic.ValidationError as error:
        problems = tuple(_line(problem, tables) for problem in error.errors(include_url=False))
        raise ConfigError(f"{where}: {len(problems)} problem{'s' * (len(problems) != 1)}", problems) from None


def plain(value: Any) -> Any:
    """A config as dicts, lists and scalars, for JSON and for handing to other processes."""
    return json.loads(pydantic.TypeAdapter(type(value)).dump_json(value))


def fingerprint(content: Any) -> str:
    """12 hex digits that name what decides an output: equal content, equal name, on any machine.

    `content` is a config or nested mappings of scalars; the order of keys does not matter.
    """
    ready = plain(content) if dataclasses.is_dataclass(content) else content
    text = json.dumps(ready, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _apply(tables: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"override {override!r}: give key.path=value, for example masks.points_per_side=16")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for depth, key in enumerate(keys[:-1]):
        tables = tables.setdefault(key, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"override {override!r}: {'.'.join(keys[: depth + 1])} is a value, not a table")
    tables[keys[-1]] = value


def _merge(tables: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        *parents, key = name.split("__")
        table = tables
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"argument {name!r}: {parent} is a value, not a table")
        if isinstance(value, Mapping):
            below = table[key] = dict(table[key]) if isinstance(table.get(key), Mapping) else {}
            _merge(below, value)
        else:
            table[key] = str(value) if isinstance(value, Path) else value


def _with_nones(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _with_nones(value) if isinstance(value, dict) else None if value == "none" else value
        for key, value in tables.items()
    }


def _dotted(location: Sequence[int | str], tables: object) -> str:
    """A problem's path as the user wrote it: pydantic's own steps (a union's tag) name nothing in the file and go."""
    parts = []
    for depth, part in enumerate(location):
        known = isinstance(tables, Mapping) and part in tables
        if known or isinstance(part, int) or depth == len(location) - 1:
            parts.append(str(part))
            tables = tables[part] if known and isinstance(tables, Mapping) else None
    return ".".join(parts)


def _line(problem: Mapping[str, Any], tables: Mapping[str, Any]) -> str:
    """One problem, for a person."""
    path = _dotted(problem["loc"], tables)
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "unexpected_keyword_argument":
            return f"{path}: unknown key (given {_short(problem['input'])})"
        case "missing" | "missing_keyword_only_argument":
            return f"{path}: missing, give a value"
        case "union_tag_not_found":
            return f"{path}.{problem['ctx']['discriminator'].strip(chr(39))}: missing, say which kind it is"
        case "union_tag_invalid":
            return f"{path}.kind: got {problem['ctx']['tag']!r}, allowed: {problem['ctx']['expected_tags']}"
        case "value_error":
            return f"{path}: {message}" if path else message
        case _:
            return f"{path}: {message[0].lower()}{message[1:]}, got {_short(problem['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
