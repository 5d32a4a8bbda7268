"""Connecting to Ray: the cluster we are inside of or told of, or one of our own on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from segray.errors import ClusterError


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Connect to Ray for the time of the `with`, or start one on this machine.

    A Ray that is connected already is used and left running.

    Args:
        address: the cluster's; None: RAY_ADDRESS (set inside a Ray Job), and without that a Ray is started here.

    Raises:
        ClusterError: there is no Ray at that address.
    """
    if ray.is_initialized():
        yield
        return
    # Ray Data narrates its plans; the job shows its own progress.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    named = "the address" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        try:
            ray.init(address=address)
        except ConnectionError as error:
            raise ClusterError(
                f"no Ray at {named} {address}: start it there, or give none to work on this machine"
            ) from error
    else:
        ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
