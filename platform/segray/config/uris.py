"""Where data lies: the types of fields that hold a path or URI, and a walk over those of any config.

A field's type says what its value is for: `InputUri` and `StoreUri` must be there before a job starts, a plain `Uri`
may also be made by it. Whoever asks which places a config names walks its fields, so that no list of keys is kept.
"""

import dataclasses
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, get_args, get_type_hints

import pydantic


class UriRole(Enum):
    """Requirement on a place for a job to start."""

    ANY = "any"
    INPUT = "input"
    STORE = "store"


Uri = Annotated[str, pydantic.StringConstraints(min_length=1, strip_whitespace=True), UriRole.ANY]
"""A local path, or a URI that pyarrow.fs or fsspec opens (s3://, gs://, https://, ...)."""
InputUri = Annotated[Uri, UriRole.INPUT]
"""A file or folder that must exist before a job starts."""
StoreUri = Annotated[Uri, UriRole.STORE]
"""A store's folder, which must exist before a job starts."""


@dataclasses.dataclass(frozen=True)
class NamedUri:
    """A place that a config names. `path` is its dotted path in the config."""

    path: str
    value: str
    role: UriRole


def named_uris(config: Any, path: str = "", *, stop_at: type | tuple[type, ...] = ()) -> Iterator[NamedUri]:
    """Yield the places that a config and its tables name, table by table.

    Args:
        config: a config's dataclass.
        path: the config's own dotted path.
        stop_at: classes of tables that are not entered.
    """
    for below, value, hint in named_fields(config, path):
        if dataclasses.is_dataclass(value):
            yield from () if isinstance(value, stop_at) else named_uris(value, below, stop_at=stop_at)
        elif isinstance(value, str) and (role := _role(hint)):
            yield NamedUri(below, value, role)


def named_fields(config: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted path, value and annotated type of each of a dataclass's own fields."""
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        yield f"{path}.{field.name}".lstrip("."), getattr(config, field.name), hints[field.name]


def _role(hint: Any) -> UriRole | None:
    """The last role among a type's annotations: the one that says most."""
    roles = [part if isinstance(part, UriRole) else _role(part) for part in get_args(hint)]
    return next((role for role in reversed(roles) if role), None)
