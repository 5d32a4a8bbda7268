"""The check that a label job's store holds what a training takes from it instead of running a SAM."""

from collections.abc import Iterable

from segray.errors import TrainError
from segray.store.lookup import StoreLookup

_SHOWN = 5


def check_labeled(lookup: StoreLookup, image_ids: Iterable[str]) -> None:
    """Check that a store holds all unlabeled images before a training relies on it.

    Raises:
        TrainError: some are missing; names the first five.
    """
    missing = lookup.missing(image_ids)
    if missing:
        few = ", ".join(missing[:_SHOWN])
        raise TrainError(
            f"{len(missing)} unlabeled images are not in {lookup.store_uri}: {few}; label them first (`segray label`)"
        )
