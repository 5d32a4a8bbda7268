"""Ports to listen on. Imports no Ray, so that a port in use is reported before anything heavy is loaded."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from segray.errors import ClusterError

RANGES: Final = tuple(range(start, start + 100) for start in range(20_000, 32_700, 100))
"""Ranges for replicas: above the ports of Ray's workers (up to 19,999), below those that Linux gives to clients."""


def free_port(host: str, port: int) -> int:
    """Return the port, or where that is 0, any that is free.

    Raises:
        ClusterError: nobody can listen there now.
    """
    with _bound(host, port) as one:
        return int(one.getsockname()[1])


@contextmanager
def held_ports(count: int) -> Iterator[list[int]]:
    """Hold distinct free ports, on every address: nobody else draws one, this user's processes can listen there."""
    with ExitStack() as stack:
        yield [stack.enter_context(_bound("", 0)).getsockname()[1] for _ in range(count)]


@contextmanager
def held_range() -> Iterator[range]:
    """Hold one of the RANGES for this process; yield its ports without the first, which marks the range as taken.

    Raises:
        ClusterError: all ranges are taken.
    """
    with ExitStack() as stack:
        for ports in RANGES:
            try:
                # Listening, since two that are only bound may share a port.
                stack.enter_context(_bound("127.0.0.1", ports.start)).listen(1)
            except (ClusterError, OSError):
                continue
            yield ports[1:]
            return
        raise ClusterError(f"no port range from {RANGES[0].start} to {RANGES[-1].stop} is free: end what holds them")


def _bound(host: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind((host, port))
    except OSError as error:
        one.close()
        raise ClusterError(
            f"cannot listen on {host}:{port} ({error.strerror}): end what does, or give another as port=NUMBER"
        ) from error
    return one
