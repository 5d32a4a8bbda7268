"""Clients for S3: pyarrow's file system, and obstore for single objects, which needs fewer requests.

obstore reads a file without asking for its size first, writes one in one request whatever its size, creates one only
where there is none, and deletes a thousand at once. It reads no credentials from files, so that it is used only where
the environment holds keys or says where to fetch them; everything goes through pyarrow elsewhere.

S3 uses the AWS_* environment. Knows buckets and keys, no URIs. Clients do not survive a fork.
"""

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store
from pyarrow import fs

from segray.storage import ranges

ATTEMPTS: Final = 10
"""Of each call of pyarrow's while S3 is busy or down, about a minute in all; the library's own 3 last a second."""
PATIENCE_S: Final = 60.0
"""Time during which obstore repeats a call."""
MOST_IN_ONE_PUT: Final = 1 << 30
"""Bytes of the largest file that is written in one request; S3 itself takes 5 GB."""

_ENVIRONMENT: Final = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_CREDENTIALS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_SCHEME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_PIECE_BYTES: Final = 1 << 16
"""Bytes of an answer that wait to be put into their place."""


@dataclass(frozen=True)
class S3Object:
    """A key of a bucket, whether or not an object lies there."""

    store: S3Store
    key: str

    def read(self, limit: int = -1) -> bytes:
        """Return the object's bytes, or the first `limit` of them if that is not negative.

        Raises:
            OSError: it cannot be read.
        """
        with _os_errors():
            most = ranges.RANGE_BYTES if limit < 0 else min(limit, ranges.RANGE_BYTES)
            answer = _first(self.store, self.key, max(1, most))
            size = answer.meta["size"] if limit < 0 else min(limit, answer.meta["size"])
            # Its buffer is a bytes object that nobody else holds, which is filled here and handed out without a copy.
            whole = io.BytesIO(bytes(size))
            with whole.getbuffer() as view:
                self._fill(view, answer)
        return whole.getvalue()

    def put(self, data: Any) -> None:
        """Write the object, whole or not at all, in one request.

        Raises:
            OSError: it cannot be written.
        """
        with _os_errors():
            obstore.put(self.store, self.key, memoryview(data).cast("B"), use_multipart=False)

    def create(self, data: bytes) -> bool:
        """Write the object where there is none; return False where there is one.

        Raises:
            OSError: it cannot be written.
        """
        with _os_errors():
            try:
                obstore.put(self.store, self.key, data, use_multipart=False, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def _fill(self, view: memoryview, first: Any) -> None:
        """Put the first answer, and then the ranges that are left, into their places."""
        etag = first.meta["e_tag"]

        def fill(start: int) -> None:
            answer = first
            if start:
                until = min(start + ranges.RANGE_BYTES, len(view))
                # Of the same version as the first range, or an error.
                answer = obstore.get(self.store, self.key, options={"range": (start, until), "if_match": etag})
            position = start
            for piece in answer.stream(min_chunk_size=_PIECE_BYTES):
                given = memoryview(piece)[: len(view) - position]
                view[position : position + len(given)] = given
                position += len(given)

        ranges.side_by_side(fill, range(0, len(view), ranges.RANGE_BYTES))


def find_object(bucket: str, options: str, key: str) -> S3Object | None:
    """Return a key as an object; None where obstore does not find the credentials, or does not take the key.

    Args:
        bucket: its name.
        options: those of a URI that choose a server, such as `endpoint_override=http://host:port`.
        key: as it is listed. obstore takes none with `//`, `.` or `..` in it, or with a slash at an end.
    """
    if not key or any(part in ("", ".", "..") for part in key.split("/")) or any(ord(one) < 32 for one in key):
        return None
    store = _store(bucket, options, _environment())
    return None if store is None else S3Object(store, key)


def delete(objects: Sequence[S3Object]) -> None:
    """Delete objects of one bucket, in one request for each thousand. Missing ones are no error.

    Raises:
        OSError: they cannot be deleted.
    """
    with _os_errors():
        obstore.delete(objects[0].store, [one.key for one in objects])


def arrow_client(bucket: str, options: str) -> fs.S3FileSystem:
    """Return pyarrow's file system for a bucket; the same one while the environment says the same."""
    return _arrow(bucket, options, _environment())


def _environment() -> tuple[str | None, ...]:
    return tuple(os.environ.get(name) for name in _ENVIRONMENT)


def _server(options: str, environment: tuple[str | None, ...]) -> tuple[dict[str, str], str | None, str | None]:
    """Return the options, the server's address where one is named, and the region where one is."""
    given = {name: values[-1] for name, values in parse_qs(options).items()}
    known = dict(zip(_ENVIRONMENT, environment, strict=True))
    endpoint = given.get("endpoint_override") or known["AWS_ENDPOINT_URL_S3"] or known["AWS_ENDPOINT_URL"]
    if endpoint and not _SCHEME.match(endpoint):
        endpoint = f"{given.get('scheme', 'https')}://{endpoint}"
    return given, endpoint, given.get("region") or known["AWS_REGION"] or known["AWS_DEFAULT_REGION"]


def _is_anonymous(given: dict[str, str]) -> bool:
    return given.get("anonymous", "").lower() in ("1", "true")


# The environment is part of the key, so that changed credentials make a new client.
@lru_cache(maxsize=64)
def _arrow(bucket: str, options: str, environment: tuple[str | None, ...]) -> fs.S3FileSystem:
    given, endpoint, region = _server(options, environment)
    settings: dict[str, Any] = {"anonymous": _is_anonymous(given)}
    if endpoint:
        transport, _, address = endpoint.partition("://")
        settings |= {
            "endpoint_override": address.rstrip("/"),
            "scheme": transport.lower(),
            "region": region or "us-east-1",
        }
    else:
        settings["region"] = region or fs.resolve_s3_region(bucket)
    patience = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
    return fs.S3FileSystem(**settings, allow_delayed_open=True, retry_strategy=patience)


@lru_cache(maxsize=64)
def _store(bucket: str, options: str, environment: tuple[str | None, ...]) -> S3Store | None:
    given, endpoint, region = _server(options, environment)
    known = dict(zip(_ENVIRONMENT, environment, strict=True))
    if known["AWS_PROFILE"] or not (_is_anonymous(given) or any(known[name] for name in _CREDENTIALS)):
        return None
    settings: dict[str, Any] = {"skip_signature": True} if _is_anonymous(given) else {}
    if endpoint:
        settings |= {"endpoint": endpoint.rstrip("/"), "virtual_hosted_style_request": False}
    return S3Store(
        bucket,
        region=region or ("us-east-1" if endpoint else fs.resolve_s3_region(bucket)),
        client_options={"allow_http": True, "connect_timeout": timedelta(seconds=10), "timeout": timedelta(minutes=5)},
        retry_config={
            # Pauses are drawn at random and may all be short: the time is the bound.
            "max_retries": 1000,
            "retry_timeout": timedelta(seconds=PATIENCE_S),
            "backoff": {"init_backoff": timedelta(seconds=0.3), "max_backoff": timedelta(seconds=20), "base": 3},
        },
        **settings,
    )


def _first(store: S3Store, key: str, most: int) -> Any:
    """Return the answer with an object's first bytes, and what is said of it."""
    try:
        return obstore.get(store, key, options={"range": (0, most)})
    except BaseError as error:
        # An empty object has no first byte.
        if "416" not in str(error):
            raise
        return obstore.get(store, key)


@contextmanager
def _os_errors() -> Iterator[None]:
    """Turn obstore's errors into those of a file system."""
    try:
        yield
    except BaseError as error:
        raise OSError(str(error).splitlines()[0]) from error
