"""Loading and naming configs: TOML plus overrides onto a dataclass, problems as lines for people, fingerprints.

Knows nothing of any particular config; `job_configs` lists those.
"""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from segray.config import schema
from segray.errors import ConfigError

T = TypeVar("T")

SETTINGS = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_default=True)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass that checks its fields and refuses unknown ones."""
    return cast(type[T], pydantic_dataclass(frozen=True, kw_only=True, config=SETTINGS)(cls))


Overrides = Sequence[str] | Mapping[str, Any]
"""Changes to a file's tables: texts `key.path=value`, or values by key (see `overridden`)."""


class SettingError(ValueError):
    """A rule between settings is broken; the error's line names the `key` that should change."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def refuse_without_effect(settings: Any, keys: Iterable[str], reason: str, path: str = "") -> None:
    """Refuse settings that have no effect beside others; a default may stand, as it misleads nobody.

    Args:
        settings: the table that holds them.
        keys: their names in it.
        reason: completes "has no effect, because".
        path: dotted path of the table, for rules of a table above it.

    Raises:
        SettingError: one of the keys has another value than its default.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for key in keys:
        if (value := getattr(settings, key)) != defaults[key]:
            raise SettingError(f"{path}.{key}".lstrip("."), f"{value!r} has no effect, because {reason}: leave it out")


def read(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, which may begin with a byte order mark.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def overridden(tables: Mapping[str, Any], overrides: Overrides, hint: Any) -> dict[str, Any]:
    """Return tables with overrides applied; `hint` is the config class, or union of classes, that they describe.

    Texts are `key.path=value`. A field of text takes the value as written (quotes around it are taken off); others are
    parsed as TOML, in which a bare word is a string. In a mapping `__` stands for the dot, as in Python's keyword
    arguments, values are taken as they are, and a mapping goes into the table that it names key by key. The value
    "none", for which TOML has no word of its own, becomes None.

    Raises:
        ConfigError: an override that is not `key.path=value`, or one below a value that is no table.
    """
    changed = deepcopy(dict(tables))
    if isinstance(overrides, Mapping):
        _merge(changed, overrides)
    else:
        for override in overrides:
            _apply(changed, override, hint)
    return _with_nones(changed)


def build(cls: type[T], tables: Mapping[str, Any], where: str) -> T:
    """Return the dataclass that the tables describe.

    Raises:
        ConfigError: one line per problem, with the dotted path, what was given and what is allowed.
    """
    try:
        return pydantic.TypeAdapter(cls).validate_python(tables)
    except pydantic.ValidationError as error:
        found = (_line(problem, tables, cls) for problem in error.errors(include_url=False))
        problems = tuple(dict.fromkeys(found))
        raise ConfigError(f"{where}: {len(problems)} problem{'s' * (len(problems) != 1)}", problems) from None


def plain(value: Any) -> Any:
    """Return a config as dicts, lists and scalars, for JSON and for handing to other processes."""
    return json.loads(pydantic.TypeAdapter(type(value)).dump_json(value))


def fingerprint(content: Any) -> str:
    """Return 12 hex digits that name what decides an output: equal content, equal name, on any machine.

    `content` is a config or nested mappings of scalars; the order of keys does not matter.
    """
    ready = plain(content) if dataclasses.is_dataclass(content) else content
    text = json.dumps(ready, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _apply(tables: dict[str, Any], override: str, hint: Any) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"override {override!r}: give key.path=value, for example masks.points_per_side=16")
    value = _value(text, is_text=schema.is_text(schema.hint_at(hint, keys, tables)))
    for depth, key in enumerate(keys[:-1]):
        tables = tables.setdefault(key, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"override {override!r}: {'.'.join(keys[: depth + 1])} is a value, not a table")
    tables[keys[-1]] = value


def _value(text: str, *, is_text: bool) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if is_text and not isinstance(value, str) else value


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


def _path(problem: Mapping[str, Any], tables: object) -> list[str]:
    """Return a problem's path as it stands in the file, without the steps that pydantic adds (the tag of a union)."""
    location = problem["loc"]
    names_last = "missing" in problem["type"] or problem["type"] == "unexpected_keyword_argument"
    parts = []
    for depth, part in enumerate(location):
        known = isinstance(tables, Mapping) and part in tables
        if known or isinstance(part, int) or (names_last and depth == len(location) - 1):
            parts.append(str(part))
            tables = tables[part] if known and isinstance(tables, Mapping) else None
    return parts


def _line(problem: Mapping[str, Any], tables: Mapping[str, Any], cls: type) -> str:
    """Describe one problem for a person."""
    keys = _path(problem, tables)
    path = ".".join(keys)
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "unexpected_keyword_argument":
            return f"{path}: unknown key (given {_short(problem['input'])}), {_neighbours(cls, keys, tables)}"
        case "missing" | "missing_keyword_only_argument":
            return f"{path}: missing, give a value"
        case "union_tag_not_found":
            kinds = ", ".join(repr(kind) for kind in schema.kinds(schema.hint_at(cls, keys, tables)))
            return f"{path}.kind: missing, say which kind it is: {kinds}"
        case "union_tag_invalid":
            return f"{path}.kind: got {problem['ctx']['tag']!r}, allowed: {problem['ctx']['expected_tags']}"
        case "value_error":
            key = getattr(problem["ctx"]["error"], "key", None)
            path = ".".join([*keys, key] if key else keys)
            return f"{path}: {message}" if path else message
        case _:
            return f"{path}: {message[0].lower()}{message[1:]}, got {_short(problem['input'])}"


def _neighbours(cls: type, keys: Sequence[str], tables: Mapping[str, Any]) -> str:
    """Name the known key that is nearest to an unknown one, or all of them where none is near."""
    known = schema.keys_at(cls, keys[:-1], tables)
    near = get_close_matches(keys[-1], known, n=1, cutoff=0.7)
    return f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
