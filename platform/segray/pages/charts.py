"""Histograms: counted as values stream by, laid out in per cent of their plot. Knows no HTML and no file."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_BARS = 30
MIN_BARS = 8
MAX_DECADES_PER_BAR = 0.2


class StreamingHistogram:
    """Counts of values in fine bins of one width: what a histogram of any coarser width needs, in bounded memory."""

    def __init__(self, step: float, *, low: float = -math.inf, high: float = math.inf) -> None:
        """Values lie in [low, high]; those outside count as the bound."""
        self.step, self.low, self.high = step, low, high
        self.bins: Counter[int] = Counter()
        self.unmeasured = 0

    def add(self, values: npt.ArrayLike) -> None:
        """Count values in; NaN is "not measured"."""
        flat = np.asarray(values, dtype=np.float64).reshape(-1)
        known = np.clip(flat[~np.isnan(flat)], self.low, self.high - self.step / 2)
        self.unmeasured += len(flat) - len(known)
        # Values on an edge belong to the bin above, whatever their last bits say.
        bins, counts = np.unique(np.floor(known / self.step + 1e-6).astype(np.int64), return_counts=True)
        self.bins.update(dict(zip(bins.tolist(), counts.tolist(), strict=True)))

    def __len__(self) -> int:
        return self.bins.total()

    def median_bin(self) -> int:
        """The fine bin that holds the median; at least one value must have been counted."""
        indices = sorted(self.bins)
        passed = np.cumsum([self.bins[index] for index in indices])
        return indices[int(np.searchsorted(passed, len(self) / 2))]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How values along the horizontal axis are told."""

    label: str
    tell: Callable[[float], str]
    """A value as text."""
    whole: bool = False
    """Values are whole numbers, counted in steps of 1."""
    decades: bool = False
    """Values are powers of ten: marks stand at whole ones."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A text at a place along an axis, in per cent."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar, in per cent of the plot, and what it says when pointed at."""

    left: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A histogram ready to be drawn; without bars where nothing was counted."""

    title: str
    x_label: str
    y_label: str
    number: int
    unmeasured: int
    bars: tuple[Bar, ...] = ()
    x_marks: tuple[Mark, ...] = ()
    y_marks: tuple[Mark, ...] = ()
    median: Mark | None = None


def chart(counted: StreamingHistogram, *, title: str, axis: Axis, of: str) -> Chart:
    """Lay out a histogram of what was counted. `of` names the things counted, in the plural."""
    bare = Chart(title=title, x_label=axis.label, y_label=of, number=len(counted), unmeasured=counted.unmeasured)
    if not len(counted):
        return bare
    fine, first, last = _bins(counted, axis)
    heights = [0] * (last - first + 1)
    for index, count in counted.bins.items():
        heights[index // fine - first] += count
    y_step = max(1, int(nice(max(heights) / 3)))
    ceiling = y_step * math.ceil(max(heights) / y_step)
    edges = [(first + place) * fine * counted.step for place in range(len(heights) + 1)]
    share = 100 / len(heights)
    median = counted.median_bin()
    return Chart(
        title=title,
        x_label=axis.label,
        y_label=of,
        number=len(counted),
        unmeasured=counted.unmeasured,
        bars=tuple(
            Bar(
                left=place * share,
                width=share,
                height=100 * height / ceiling,
                text=f"{_range(edges[place], edges[place + 1], axis)}: {height:,} {of}",
            )
            for place, height in enumerate(heights)
            if height
        ),
        x_marks=tuple(_x_marks(edges, axis)),
        y_marks=tuple(Mark(at=100 * y / ceiling, text=short(y)) for y in range(0, ceiling + 1, y_step)),
        median=Mark(
            at=((median + 0.5) / fine - first) * share,
            text=axis.tell((median + (0 if axis.whole else 0.5)) * counted.step),
        ),
    )


def short(number: float) -> str:
    """A count in few characters: 950, 1.2k, 34k, 5.1M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:g}"


def _bins(counted: StreamingHistogram, axis: Axis) -> tuple[int, int, int]:
    """Fine bins to a bar, and the first and last bar; with some room where the values are all alike."""
    lowest, highest = min(counted.bins), max(counted.bins)
    fine = max(1, round(nice((highest - lowest + 1) / MAX_BARS)))
    if axis.decades:
        fine = min(fine, round(MAX_DECADES_PER_BAR / counted.step))
    first, last = lowest // fine, highest // fine
    room = max(0, MIN_BARS - (last - first + 1))
    width = fine * counted.step
    last = int(min(last + room // 2, max(last, math.inf if math.isinf(counted.high) else counted.high / width - 1)))
    first = int(max(min(first, last + 1 - MIN_BARS), min(first, counted.low / width)))
    return fine, first, max(last, first + MIN_BARS - 1)


def _x_marks(edges: list[float], axis: Axis) -> list[Mark]:
    low, high = edges[0], edges[-1]
    alone = axis.whole and edges[1] - edges[0] == 1
    step = 1.0 if axis.decades else nice((high - low) / 6)
    if axis.whole:
        step = max(1.0, step)
    values = [index * step for index in range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)]
    shift = 0.5 if alone else 0.0
    places = [(100 * (value + shift - low) / (high - low), value) for value in values]
    return [Mark(at=min(place, 100.0), text=axis.tell(value)) for place, value in places if place < 100.01]


def _range(low: float, high: float, axis: Axis) -> str:
    if axis.whole:
        return axis.tell(low) if high - low == 1 else f"{axis.tell(low)} to {axis.tell(high - 1)}"
    return f"{axis.tell(low)} to {axis.tell(high)}"


def nice(least: float) -> float:
    """The smallest of ..., 0.1, 0.2, 0.5, 1, 2, 5, 10, ... that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
