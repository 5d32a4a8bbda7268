"""Ports to listen on. Imports no Ray, so that a port in use is told before anything heavy is loaded."""

import socket

from segray.errors import ClusterError


def free_port(host: str, port: int) -> int:
    """The port, or where that is 0, any that is free.

    Raises:
        ClusterError: nobody can listen there now.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError as error:
            raise ClusterError(
                f"cannot listen on {host}:{port} ({error.strerror}): end what does, or give another as port=NUMBER"
            ) from error
        return int(one.getsockname()[1])
