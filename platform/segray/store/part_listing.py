"""A listing of parts that misses nothing while parts are being merged.

Whoever replaces parts writes the new ones, changes the store's generation, and only then deletes the old ones. So a
listing begun and ended in one generation holds every row, some of them perhaps twice; one that saw the generation
change may have passed where a new part was put and come too late for the old one, and is done again.
"""

import time
import uuid
from collections.abc import Callable
from typing import TypeVar

from segray.errors import SourceError, StoreError
from segray.storage import commits, files
from segray.store.parts import Part, PartMoved, list_parts

T = TypeVar("T")

_NAME = "generation"
_TRIES = 10
_WAIT_S = 0.2
"""Times the number of tries so far: 9 s in all."""


def new_generation(store_uri: str) -> None:
    """Call between writing new parts and deleting those they replace.

    Raises:
        StoreError: it could not be written.
    """
    commits.commit(files.join(store_uri, _NAME), uuid.uuid4().hex.encode())


def with_parts(store_uri: str, work: Callable[[list[Part]], T]) -> T:
    """`work` on a whole listing, again from the start where it meets a part that was replaced since.

    Raises:
        StoreError: the parts never held still, or what `work` raises.
    """
    name = "while they were listed"
    for number in range(_TRIES):
        time.sleep(number * _WAIT_S)
        before = _generation(store_uri)
        found = list_parts(store_uri)
        if _generation(store_uri) != before:
            continue
        try:
            return work(found)
        except PartMoved as moved:
            name = str(moved)
    raise StoreError(
        f"{store_uri}: its parts were gone again {_TRIES} times while they were read (last {name}); wait until other "
        "processes have done replacing them, or delete the part if it is a link to nothing"
    )


def _generation(store_uri: str) -> bytes:
    uri = files.join(store_uri, _NAME)
    try:
        return files.read_if_there(uri) or b""
    except SourceError as error:
        raise StoreError(str(error)) from error
