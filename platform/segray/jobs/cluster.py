"""Connecting to Ray: the cluster we are inside of or told of, or one of our own on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray


@contextmanager
def connected() -> Iterator[None]:
    """Ray for the time of the `with`; RAY_ADDRESS (set inside a Ray Job) names a cluster, else one is started here.

    A Ray that is connected already is used and left running.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    ray.init(address=address, include_dashboard=False if address == "local" else None, log_to_driver=True)
    try:
        yield
    finally:
        ray.shutdown()
