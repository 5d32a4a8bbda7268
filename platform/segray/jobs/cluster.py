"""Connecting to Ray: the cluster we are inside of or told of, or one of our own on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from segray.errors import ClusterError


@contextmanager
def connected() -> Iterator[None]:
    """Ray for the time of the `with`; RAY_ADDRESS (set inside a Ray Job) names a cluster, else one is started here.

    A Ray that is connected already is used and left running.
    """
    if ray.is_initialized():
        yield
        return
    # Ray Data narrates its plans; the job shows its own progress.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    address = os.environ.get("RAY_ADDRESS")
    if address:
        try:
            ray.init(address=address)
        except ConnectionError as error:
            raise ClusterError(
                f"no Ray at RAY_ADDRESS={address}: start it, or unset RAY_ADDRESS to work here"
            ) from error
    else:
        ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
