"""What a config reads, looked at before anything starts: is it there, and does it hold images.

Knows configs and files; imports neither torch nor Ray. Opens no image and reads no annotation file: those may be large.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, get_args, get_type_hints

from segray.config import sources
from segray.config.registry import StudentConfig
from segray.config.sources import CocoSource, LabelStudioSource, Source, VocSource
from segray.config.students import SemanticStudentConfig
from segray.config.tags import CsvTags
from segray.errors import SourceError, StoreError
from segray.formats import sources as formats
from segray.formats.sources import open_source
from segray.job_configs import Job
from segray.methods.sepl.config import FolderMaps
from segray.storage import files
from segray.store import Store

_TABLES: Final = (
    sources.FolderSource,
    sources.CocoSource,
    sources.VocSource,
    sources.ManifestSource,
    sources.LabelStudioSource,
    sources.StoreSource,
    FolderMaps,
    CsvTags,
)
"""The tables of a config that say where data is."""


def problems(config: Job) -> tuple[str, ...]:
    """A line per table of the config whose data is not there: annotation files, folders, stores, a first image."""
    return tuple(f"{key}: {why}" for key, data in _named(config) if (why := _problem(data)))


def look(config: Job) -> None:
    """See that all data is there that the config names.

    Raises:
        SourceError: all that is not.
    """
    if found := problems(config):
        raise SourceError("\n  ".join([f"the {config.job} job has nothing to work on", *found]))


def open_for(student: StudentConfig, source: Source) -> formats.Source:
    """Open a source as such a student learns from it: as label maps for semantic students.

    Raises:
        SourceError: it cannot be read.
    """
    opened = open_source(source)
    if isinstance(student, SemanticStudentConfig):
        return formats.LabelMaps(opened, background=student.background)
    return opened


def _named(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The tables that name data and the fields that name stores, as `StoreUri` says, each by its path."""
    if isinstance(config, _TABLES):
        yield key, config
        return
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), f"{key}.{field.name}".lstrip(".")
        if dataclasses.is_dataclass(value):
            yield from _named(value, path)
        elif value is not None and _is_store(hints[field.name]):
            yield path, value


def _is_store(hint: Any) -> bool:
    return any(part is sources.STORE or _is_store(part) for part in get_args(hint))


def _problem(data: Any) -> str | None:
    try:
        match data:
            case str():
                Store.open(data)
            case CocoSource() | LabelStudioSource():
                return _missing(data.annotations) or _missing(data.uri)
            case FolderMaps() | CsvTags():
                return _missing(data.uri)
            case VocSource():
                return _missing(data.masks) or _without_images(data)
            case _:
                return _without_images(data)
    except (SourceError, StoreError) as error:
        return str(error)
    return None


def _missing(uri: str) -> str | None:
    return None if files.exists(uri) else f"{uri}: there is no such file or folder"


def _without_images(source: Source) -> str | None:
    return None if next(open_source(source).rows(), None) else f"{source.uri}: holds no images"
