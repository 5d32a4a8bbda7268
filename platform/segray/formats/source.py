"""Sources of images: the `Source` protocol and what its kinds share.

Shared are rows by name, listings that count what lies beside images, JSON and one error for all problems of a file.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from segray.errors import SourceError
from segray.images import kinds
from segray.masks.instances import Instances
from segray.masks.object_prompts import ObjectPrompts
from segray.storage import files, names
from segray.storage.prefetch import map_in_order
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

BESIDE = Reason("beside", "have no image's name and are left out")
FOREIGN = Reason("foreign", "are of a kind of image that segray does not read", is_damage=True)

_SHOWN = 10
_FLAGS: Final = {"0": 0, "false": 0, "1": 1, "true": 1}
_ONE_BY_ONE = ("", "file", "http", "https")


class Source(Protocol):
    """Images, and annotations where there are any."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by the class id of `instances`; empty where there are no annotations."""

    @property
    def tally(self) -> Tally:
        """What was read so far, and what of it was left out and why.

        `rows` counts what it passes over, but not the images that it yields: whoever takes those counts them.
        `instances` counts an image's annotations, once, however often it is asked for them. Broken annotations are
        counted as damage and left out; `Tally.check` then says whether they are too many.
        """

    def rows(self) -> Iterator[ImageRow]:
        """Every image once, streamed, in an order that only its content decides. Nothing is opened.

        Raises:
            SourceError: the source as a whole cannot be read. A single image that is not there is a row all the
                same, of version "missing": whoever opens it says so.
        """

    def instances(self, image_id: str, *, crowds: bool = False) -> Instances | None:
        """Decode an image's annotations; None where it has none or is not of this source.

        Args:
            image_id: names the image.
            crowds: also return regions of many objects (COCO's `iscrowd`), with provenance `CROWD`. Sources without
                such regions return the same either way; a source that wraps another passes it on.

        Raises:
            SourceError: they are there and cannot be understood at all.
        """


class AnnotatedSource(Source, Protocol):
    """A source whose file says which images a person has looked at."""

    @property
    def annotated(self) -> Iterable[str]:
        """The ids of these images."""

    def instances(
        self, image_id: str, *, crowds: bool = False, size_hw: tuple[int, int] | None = None
    ) -> Instances | None:
        """See `Source`. `size_hw` is taken where the file does not say the image's size, which is then not opened."""


def image_files(folder: str, tally: Tally) -> Iterator[files.FileEntry]:
    """Yield the files below a folder that are images by their names, and count those and the others as "files".

    Raises:
        SourceError: the folder is missing or cannot be listed.
    """
    tally.restart("files")
    for entry in files.list_files(folder):
        name = entry.path.lower()
        if name.endswith(kinds.SUFFIXES):
            tally.use("files")
            yield entry
        else:
            tally.leave_out("files", FOREIGN if name.endswith(kinds.FOREIGN_SUFFIXES) else BESIDE, entry.path)


class PromptedSource(Source, Protocol):
    """A source that knows where the objects of an image are, though perhaps not their masks."""

    def prompts(self, image_id: str) -> ObjectPrompts | None:
        """Return the boxes and points of an image's objects, as the file has them; None for an image that is not of
        this source.

        Raises:
            SourceError: they are there and broken.
        """


def rows_by_name(folder: str, paths: Mapping[str, str], *, outside: bool) -> Iterator[ImageRow]:
    """Yield rows of images known by name: id -> path below the folder, or whole URI.

    Versions come from one listing where asking for each image would be a request each.

    Raises:
        SourceError: the folder is missing, or a name is one that data may not give (see `storage.names`).
    """
    folder = files.absolute(folder)
    uris = names.resolve_all(folder, paths, outside=outside)
    below = {path for path in paths.values() if _plain(path)}
    if below and not files.exists(folder):
        raise SourceError(f"{folder}: there is no such folder of images")
    listed: dict[str, str] = {}
    if files.scheme(folder) in _ONE_BY_ONE:
        below = set()
    elif below:
        listed = {entry.path: entry.version for entry in files.list_files(folder) if entry.path in below}

    def row(item: tuple[str, str]) -> ImageRow:
        image_id, path = item
        uri = uris[image_id]
        version = listed.get(path, files.MISSING) if path in below else version_or_missing(uri)
        return ImageRow(image_id=image_id, uri=uri, version=version)

    yield from map_in_order(row, paths.items())


def version_or_missing(uri: str) -> str:
    """A file's version; "missing" where it is not there or cannot be asked for."""
    try:
        return files.version(uri) or files.MISSING
    except SourceError:
        return files.MISSING


def read_json(uri: str) -> Any:
    """A JSON file's content.

    Raises:
        SourceError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(files.read_bytes(uri))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{uri}: not JSON ({error})") from error


def is_task_list(uri: str) -> bool:
    """Return whether a JSON file is a list, as Label Studio's are, and not an object, as COCO's are.

    Raises:
        SourceError: it cannot be read.
    """
    beginning = files.read_bytes(uri, 64)
    text = beginning.decode(json.detect_encoding(beginning), errors="replace")
    return text.lstrip("\ufeff \t\r\n").startswith("[")


def images_beside(annotations: str) -> str:
    """Return where the images of an annotation file lie: in `images` beside it where that is there, or in its folder.

    Raises:
        SourceError: nobody can tell.
    """
    folder = files.parent(files.absolute(annotations))
    beside = files.join(folder, "images")
    return beside if files.exists(beside) else folder


def refuse(uri: str, problems: Sequence[str]) -> None:
    """Raise one error for all problems of a file, if there are any.

    Raises:
        SourceError: with the first ten.
    """
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        raise SourceError("\n  ".join([f"{uri}: {count}", *problems[:_SHOWN], *more]))


def flag(value: object) -> object:
    """Return a flag as 0 or 1, whether it is a number, a boolean, a text or null; anything else as it is."""
    if value is None:
        return 0
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower(), value)
    return int(value) if isinstance(value, int | float) and value in (0, 1) else value


def attributes_text(value: object) -> str:
    """Return what a file says of an object beside its shape, a JSON object as text; empty where it is none."""
    try:
        found = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return ""
    return str(value) if isinstance(found, dict) else ""


def name_problem(name: object) -> str | None:
    """Why a value cannot name an image; None where it can."""
    if not isinstance(name, str) or not name.strip():
        return f"is {name!r}, it must be a name"
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"is {name!r}, which is not Unicode text"
    return None


def _plain(path: str) -> bool:
    """Whether a listing of the folder would show the path as it is written."""
    return not files.scheme(path) and not any(part.startswith(".") or not part for part in path.split("/"))
