"""The shape of config classes: keys, types, defaults, descriptions. Knows no particular config and no TOML."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

MISSING = dataclasses.MISSING


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One field of a config class."""

    name: str
    hint: Any
    """Its type, with annotations."""
    default: Any
    """Its default; `MISSING` where a value must be given."""
    description: str
    """Its docstring."""


def settings(cls: type) -> list[Setting]:
    """Return the fields of a config class in the order of their definition, `job` and `kind` first."""
    hints = get_type_hints(cls, include_extras=True)
    found = [
        Setting(name=one.name, hint=hints[one.name], default=_default(one), description=_description(cls, one.name))
        for one in dataclasses.fields(cls)
    ]
    return sorted(found, key=lambda one: one.name not in ("job", "kind"))


def classes(hint: Any) -> tuple[type, ...]:
    """Return the config classes that a type allows: one, those of a union, or none."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return (hint,)
    return tuple(dict.fromkeys(cls for part in get_args(hint) for cls in classes(part)))


def kind(cls: type) -> str | None:
    """Return the value of `kind` that chooses a class, if it is one of several."""
    hint = get_type_hints(cls).get("kind")
    return str(get_args(hint)[0]) if get_origin(hint) is Literal else None


def kinds(hint: Any) -> list[str]:
    """Return the values of `kind` that a type allows."""
    return [name for cls in classes(hint) if (name := kind(cls)) is not None]


def tables(cls: type, path: str = "") -> Iterator[tuple[str, type]]:
    """Yield the dotted path and class of a config and of every table that it may hold, parents first.

    A table whose `kind` chooses among classes comes once for each of them.
    """
    yield path, cls
    for one in settings(cls):
        for below in classes(one.hint):
            yield from tables(below, f"{path}.{one.name}".lstrip("."))


def hint_at(root: Any, keys: Sequence[str], tables: Mapping[str, Any]) -> Any:
    """Return the type of the setting at a path, in a union by the `kind` that the tables say; None where unknown."""
    hint: Any = root
    given: Any = tables
    for key in keys:
        hints = [get_type_hints(one, include_extras=True) for one in _chosen(hint, given)]
        hint = next((one[key] for one in hints if key in one), None)
        given = given.get(key) if isinstance(given, Mapping) else None
    return hint


def keys_at(root: Any, keys: Sequence[str], tables: Mapping[str, Any]) -> list[str]:
    """Return the keys that the table at a path may have."""
    given: Any = tables
    for key in keys:
        given = given.get(key) if isinstance(given, Mapping) else None
    found = [one.name for chosen in _chosen(hint_at(root, keys, tables), given) for one in settings(chosen)]
    return list(dict.fromkeys(found))


def is_text(hint: Any) -> bool:
    """Return whether a type allows text and nothing else but None."""
    if get_origin(hint) is Annotated:
        return is_text(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return all(isinstance(value, str) for value in get_args(hint))
    parts = [part for part in get_args(hint) if part is not type(None)]
    return hint is str or (get_origin(hint) is not tuple and bool(parts) and all(map(is_text, parts)))


def _chosen(hint: Any, given: Any) -> tuple[type, ...]:
    """Return the classes of a union that a table can mean: the one of its `kind`, else all."""
    allowed = classes(hint)
    wanted = given.get("kind") if isinstance(given, Mapping) else None
    return tuple(cls for cls in allowed if wanted is not None and kind(cls) == wanted) or allowed


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _description(cls: type, name: str) -> str:
    for base in cls.__mro__:
        found = base.__dict__.get("__pydantic_fields__", {}).get(name)
        if found is not None and found.description:
            return " ".join(found.description.split())
    return ""
