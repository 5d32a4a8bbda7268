"""What labeling costs, as a table over numbers of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COMPARED = (1.0, 2.0, 4.0)
"""Prices per hour that are shown where none is known."""

AMOUNTS = (1_000, 100_000, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """Hours and prices, a column for each of `amounts` images. The first column is what the store holds."""

    unit: str
    """GPU or actor: whose hours."""
    amounts: tuple[int, ...]
    hours: tuple[float, ...]
    prices: tuple[tuple[float, tuple[float, ...]], ...]
    """(price per hour, cost per column)."""
    priced: bool
    """Whether the price was given, or several are compared."""


def cost_table(images: int, seconds: float, summary: Mapping[str, Any], per_hour: float | None) -> CostTable | None:
    """The table for `images` images that took actors `seconds` in all; None where nothing was measured.

    A summary that knows GPU-seconds turns actors' hours into GPU-hours; `per_hour` is the price of one of those hours.
    """
    if not images or not seconds:
        return None
    actor_s, gpu_s = summary.get("actor_s_per_image"), summary.get("gpu_s_per_image")
    share = gpu_s / actor_s if actor_s and gpu_s else 1.0
    amounts = (images, *AMOUNTS)
    hours = tuple(seconds / images * share * amount / 3600 for amount in amounts)
    prices = (per_hour,) if per_hour else COMPARED
    return CostTable(
        unit="GPU" if gpu_s else "actor",
        amounts=amounts,
        hours=hours,
        prices=tuple((price, tuple(hour * price for hour in hours)) for price in prices),
        priced=bool(per_hour),
    )
