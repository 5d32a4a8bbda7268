"""Waiting out a server that is busy for a while. Knows HTTP statuses; S3's own client waits by itself."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PASSING = frozenset({429, 502, 503, 504})
"""What a server answers that may answer otherwise soon."""
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Before each further try; a server gone for longer is an error."""

_log = logging.getLogger(__name__)


def retrying(read: Callable[[], T], what: str) -> T:
    """What `read` gives, tried again while its error carries a `status` that may pass; then that error."""
    for pause in PAUSES_S:
        try:
            return read()
        except Exception as error:
            if _status(error) not in PASSING:
                raise
            _log.warning("%s: %s, trying again in %g s", what, error, pause)
        time.sleep(pause)
    return read()


def _status(error: BaseException | None) -> int | None:
    """Of the error or of one that caused it: fsspec's errors share no class, and some hide the server's answer."""
    while error is not None:
        if isinstance(status := getattr(error, "status", None), int):
            return status
        error = error.__cause__
    return None
