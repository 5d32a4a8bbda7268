"""An S3 server on loopback that counts: requests by method and kind of key, bytes, and a delay for each request.

moto answers; this module sits in front of it. Tests and benchmarks read what it counted. It counts whatever it is asked
through HTTP, so other processes that are given its address are counted too.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Environment of clients."""

KINDS: Mapping[str, str] = {
    "part": r"/parts/[^/]+\.parquet$",
    "parts": r"/parts/?$",
    "attempt note": r"/attempts(/|$)",
    "lease": r"/lease\.json$",
    "generation": r"/generation$",
    "keys": r"/keys(/|$)",
    "manifest": r"/store\.json$",
    "run": r"/runs/",
    "weights": r"\.(safetensors|pth|pt)$",
    "annotations": r"\.json$",
    "rows": r"\.(arrow|parquet)$",
    "image": r"\.(png|jpe?g|tiff?)$",
}
"""Patterns of keys by what lies there; the first that is found counts."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that was answered."""

    method: str
    """The HTTP method; LIST for a listing, DELETE-MANY for a deletion of several keys."""
    key: str
    """The key, or the prefix of a listing; the bucket comes first."""
    status: int
    sent: int
    """Bytes of the request's body."""
    received: int
    """Bytes of the answer's body."""

    @property
    def kind(self) -> str:
        """The first of `KINDS` that the key is of."""
        return next((kind for kind, pattern in KINDS.items() if re.search(pattern, self.key)), "other")


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class CountingS3:
    """The server; a context manager."""

    def __init__(self, delay_s: float = 0.0) -> None:
        """Start it.

        Args:
            delay_s: time that each request waits before it is answered.
        """
        self.delay_s = delay_s
        self._answered: list[Request] = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._count, threaded=True, request_handler=_Quiet)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> "CountingS3":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which clients find this server."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.address}

    def make_bucket(self, name: str) -> str:
        """Return the URI of a new bucket, which names this server."""
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=self.address, **keys).create_bucket(Bucket=name)
        return f"s3://{name}?endpoint_override={self.address}"

    @contextmanager
    def counted(self) -> Iterator[list[Request]]:
        """Give a list that holds, once the block is left, what was answered inside it."""
        begin, found = len(self._answered), list[Request]()
        yield found
        found.extend(self._answered[begin:])

    def _count(self, environment: Mapping[str, Any], start: Any) -> Iterable[bytes]:
        time.sleep(self.delay_s)
        query = parse_qs(environment["QUERY_STRING"], keep_blank_values=True)
        method, key = environment["REQUEST_METHOD"], unquote(environment["PATH_INFO"]).lstrip("/")
        if method == "GET" and ("list-type" in query or "prefix" in query):
            method, key = "LIST", f"{key.rstrip('/')}/{query.get('prefix', [''])[0]}"
        elif method == "POST" and "delete" in query:
            method = "DELETE-MANY"
        status: list[int] = []

        def begin(line: str, headers: Any, *rest: Any) -> Any:
            status.append(int(line.split(maxsplit=1)[0]))
            return start(line, headers, *rest)

        answer = list(self._app(environment, begin))
        # Before the client can see the answer, so that a client that has it finds it counted.
        self._answered.append(
            Request(
                method=method,
                key=key,
                status=status[0],
                sent=int(environment.get("CONTENT_LENGTH") or 0),
                received=0 if method == "HEAD" else sum(map(len, answer)),
            )
        )
        return answer


def by_kind(requests: Iterable[Request]) -> Counter[tuple[str, str]]:
    """Count requests by (kind of key, method)."""
    return Counter((one.kind, one.method) for one in requests)
