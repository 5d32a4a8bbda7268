"""What a config reads, looked at before anything starts: is it there, does it hold images, and what of it is left out.

Knows configs and files; imports neither torch nor Ray. Opens no image.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from segray.config.uris import NamedUri, UriRole, named_fields, named_uris
from segray.datasets.training_rows import labeled_images
from segray.errors import SourceError, StoreError
from segray.formats.format import SourceSettings
from segray.formats.registry import READERS, open_source
from segray.job_configs import Job
from segray.storage import files
from segray.store import Store
from segray.tally import Tally

IMAGES_ONLY: Final = ("source", "data.unlabeled")
"""Tables of which jobs read the images and no masks."""


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


def read_inputs(config: Job) -> dict[str, Tally]:
    """Read all sources that a config names; return what of each is used and left out, by the table's path.

    Masks are read where the job reads them, which takes as long as the annotation files are large.

    Raises:
        SourceError: a source cannot be read.
    """
    read = {}
    for path, settings in _sources(config):
        source = open_source(settings)
        if path in IMAGES_ONLY:
            source.tally.use("images", sum(1 for _ in source.rows()))
        else:
            for _ in labeled_images(source, source.rows(), crowds=False):
                pass
        read[path] = source.tally
    return read


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
