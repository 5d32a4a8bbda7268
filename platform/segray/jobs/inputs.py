"""What a config reads, looked at before anything starts: is it there, and does it hold images.

Knows configs and files; imports neither torch nor Ray. Opens no image and reads no annotation file: those may be large.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from segray.config.uris import NamedUri, UriRole, named_fields, named_uris
from segray.errors import SourceError, StoreError
from segray.formats.format import SourceSettings
from segray.formats.registry import READERS, open_source
from segray.job_configs import Job
from segray.storage import files
from segray.store import Store


def input_problems(config: Job) -> tuple[str, ...]:
    """A line per table of the config whose data is not there: annotation files, folders, stores, a first image."""
    places = ((one.path, _missing(one)) for one in named_uris(config, stop_at=SourceSettings))
    sources = ((path, _source_problem(source)) for path, source in _sources(config))
    return tuple(f"{path}: {why}" for path, why in sorted([*places, *sources]) if why)


def require_inputs(config: Job) -> None:
    """See that all data is there that the config names.

    Raises:
        SourceError: all that is not.
    """
    if found := input_problems(config):
        raise SourceError("\n  ".join([f"the {config.job} job has nothing to work on", *found]))


def _sources(config: Any, path: str = "") -> Iterator[tuple[str, SourceSettings]]:
    """Yield the tables of a config that name a source, each with its path."""
    for below, value, _ in named_fields(config, path):
        if isinstance(value, SourceSettings):
            yield below, value
        elif dataclasses.is_dataclass(value):
            yield from _sources(value, below)


def _source_problem(source: SourceSettings) -> str | None:
    """Say what keeps a source from being read; sources that are cheap to open are asked for their first image."""
    cheap = not READERS[source.kind].reads_annotations
    # The first image says more of the folder than that it exists.
    places = [one for one in named_uris(source) if not (cheap and one.value == source.uri)]
    problem = next((why for one in places if (why := _missing(one))), None)
    return problem or (_without_images(source) if cheap else None)


def _missing(place: NamedUri) -> str | None:
    """Say what is wrong with a place that must be there; None where it is, or need not be."""
    try:
        match place.role:
            case UriRole.STORE:
                Store.open(place.value)
            case UriRole.INPUT if not files.exists(place.value):
                return f"{place.value}: there is no such file or folder"
    except (SourceError, StoreError) as error:
        return str(error)
    return None


def _without_images(source: SourceSettings) -> str | None:
    try:
        return None if next(open_source(source).rows(), None) else f"{source.uri}: holds no images"
    except SourceError as error:
        return str(error)
