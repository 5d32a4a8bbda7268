"""Clients of an HTTP endpoint, in a process of their own: a fixed number that each wait for an answer before asking
again (closed loop), or requests that come when they come (open loop).

Latencies of the open loop count from when a request was due, so that a slow server cannot slow its callers down.
"""

import http.client
import pickle
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier, local
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every client sends."""

    url: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer."""

    due: float
    """Unix time at which it was sent, or was to be sent."""
    seconds: float
    status: int
    """Of HTTP; 0 where the connection failed."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What clients saw."""

    replies: Sequence[Reply]
    seconds: float
    """From the first to the last."""
    cpu_seconds: float
    """That the clients themselves took."""

    @property
    def per_second(self) -> float:
        """Good answers."""
        return sum(one.status == 200 for one in self.replies) / self.seconds

    @property
    def failed(self) -> int:
        """Answers other than 200."""
        return sum(one.status != 200 for one in self.replies)

    def quantile_ms(self, percent: int) -> float:
        """Of the good answers' latencies."""
        good = [one.seconds * 1e3 for one in self.replies if one.status == 200]
        return statistics.quantiles(good, n=100, method="inclusive")[percent - 1]


class Clients:
    """A process of clients at work; `result` waits for their end."""

    def __init__(self, kind: str, *arguments: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from bench.clients import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        pickle.dump((kind, arguments), self._process.stdin)
        self._process.stdin.flush()

    def result(self) -> Load:
        """What they saw."""
        assert self._process.stdout is not None
        load: Load = pickle.load(self._process.stdout)
        self._process.communicate()
        return load


def closed_loop(request: Request, clients: int, seconds: float) -> Clients:
    """`clients` that ask again as soon as they are answered."""
    return Clients("closed", request, clients, seconds)


def open_loop(request: Request, per_second: float, seconds: float, seed: int = 0) -> Clients:
    """Requests at random times, so many per second on average, whether or not earlier ones are answered."""
    return Clients("open", request, per_second, seconds, seed)


def _closed_loop(request: Request, clients: int, seconds: float) -> Load:
    ready = Barrier(clients)

    def client(_number: int) -> list[Reply]:
        caller, replies = _Caller(request), []
        caller.ask(time.time())
        ready.wait()
        end = time.time() + seconds
        while time.time() < end:
            replies.append(caller.ask(time.time()))
        return replies

    with ThreadPoolExecutor(clients) as pool:
        return _summed([one for replies in pool.map(client, range(clients)) for one in replies])


def _open_loop(request: Request, per_second: float, seconds: float, seed: int) -> Load:
    draw, at, own = random.Random(seed), time.time() + 0.5, local()
    dues = []
    end = at + seconds
    while (at := at + draw.expovariate(per_second)) < end:
        dues.append(at)

    def ask(due: float) -> Reply:
        if not hasattr(own, "caller"):
            own.caller = _Caller(request)
        time.sleep(max(0.0, due - time.time()))
        reply: Reply = own.caller.ask(due)
        return reply

    # As many threads as can be waiting for an answer at a time.
    with ThreadPoolExecutor(min(len(dues), 128)) as pool:
        return _summed(list(pool.map(ask, dues)))


def _summed(replies: Sequence[Reply]) -> Load:
    first, last = min(one.due for one in replies), max(one.due + one.seconds for one in replies)
    return Load(replies=replies, seconds=last - first, cpu_seconds=time.process_time())


class _Caller:
    """One connection that is kept."""

    def __init__(self, request: Request) -> None:
        parts = urlsplit(request.url)
        assert parts.hostname is not None
        self._request = request
        self._path = f"{parts.path}?{parts.query}"
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def ask(self, due: float) -> Reply:
        try:
            self._connection.request("POST", self._path, self._request.body, dict(self._request.headers))
            response = self._connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            self._connection.close()
            status = 0
        return Reply(due=due, seconds=time.time() - due, status=status)


def main() -> None:
    """What `Clients` starts."""
    kind, arguments = pickle.load(sys.stdin.buffer)
    work = {"closed": _closed_loop, "open": _open_loop}[kind]
    pickle.dump(work(*arguments), sys.stdout.buffer)
