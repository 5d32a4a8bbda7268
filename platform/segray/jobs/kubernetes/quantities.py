"""Kubernetes' quantities as numbers."""

import re

_UNITS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_QUANTITY = re.compile(r"([0-9.]+)([A-Za-z]*)")


def quantity(given: str | float) -> float:
    """`500m` is 0.5, `2Gi` 2**31.

    Raises:
        ValueError: it is none.
    """
    found = _QUANTITY.fullmatch(str(given))
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{given!r} is no quantity: give a number and one of {', '.join(filter(None, _UNITS))}")
    return float(found[1]) * _UNITS[found[2]]
