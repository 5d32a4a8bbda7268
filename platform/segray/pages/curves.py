"""Curves over steps: many points made few, laid out in per cent of their plot. Knows no HTML and no file."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segray.pages.charts import Mark, nice, short

MAX_POINTS = 120
"""Points of a line; where there are more, each is the mean of its neighbours and a band spans them."""
MAX_DOTS = 40
"""Points that still get a dot each that says its value."""
_LOG_FROM = 6.0
"""Ratio of the largest to the smallest value from which on the axis is logarithmic."""

Points = Sequence[tuple[float, float]]
"""(x, y)."""
Tell = Callable[[float], str]
"""A value as text."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One value and what it says when pointed at, in per cent of the plot from the lower left."""

    left: float
    bottom: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve, in per cent of the plot from the upper left, as SVG takes it."""

    name: str
    points: str
    band: str
    """The outline of all values; empty where each has its own point."""
    dots: tuple[Dot, ...]
    last: str
    """The last value as text."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A chart ready to be drawn; without lines where there is nothing to draw."""

    title: str
    x_label: str
    lines: tuple[Line, ...] = ()
    x_marks: tuple[Mark, ...] = ()
    y_marks: tuple[Mark, ...] = ()
    once: str = ""
    """Where no line has a second point: when it was measured, in words. Heights are then from 0."""


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Values onto 0..100."""

    low: float
    high: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        place = math.log(max(value, self.low)) if self.log else value
        return min(100.0, max(0.0, 100 * (place - low) / (high - low)))


def curves(
    named: Mapping[str, Points], *, title: str, tell: Tell, from_zero: bool = False, x_label: str = "step"
) -> Curves:
    """Lay out curves over one pair of axes. Those without points take part with their names only.

    Args:
        named: (x, y) of each curve, x rising.
        title: the chart's.
        tell: a value as text.
        from_zero: the axis begins at 0 and is linear; else it spans the values, as powers where they span some.
        x_label: what x is.
    """
    every = [point for points in named.values() for point in points]
    if not every:
        return Curves(title=title, x_label=x_label)
    x_scale = _Scale(low=0.0, high=max(1.0, *(x for x, _ in every)))
    once = all(len(points) < 2 for points in named.values())
    y_scale, y_values = _y_axis([y for _, y in every], from_zero or once)
    step = max(1.0, nice(x_scale.high / 5))
    return Curves(
        title=title,
        x_label=x_label,
        lines=tuple(_line(name, points, x_scale, y_scale, tell) for name, points in named.items()),
        x_marks=tuple(Mark(at=x_scale(x), text=short(x)) for x in _multiples(0.0, x_scale.high, step)),
        y_marks=tuple(Mark(at=y_scale(y), text=tell(y)) for y in y_values),
        once=_once([x for x, _ in every], x_label) if once else "",
    )


def _once(places: Sequence[float], x_label: str) -> str:
    if len(set(places)) > 1:
        return "Measured once each."
    return f"Measured once, at {x_label} {places[0]:,.0f}."


def _line(name: str, points: Points, x_scale: _Scale, y_scale: _Scale, tell: Tell) -> Line:
    few, low, high = _thinned(points)
    outline = [*high, *reversed(low)] if len(few) < len(points) else []
    dots = [Dot(left=x_scale(x), bottom=y_scale(y), text=f"{name}, {x:g}: {tell(y)}") for x, y in points]
    return Line(
        name=name,
        points=_path(few, x_scale, y_scale),
        band=_path(outline, x_scale, y_scale),
        dots=tuple(dots) if len(dots) <= MAX_DOTS else (),
        last=tell(points[-1][1]) if points else "",
    )


def _thinned(points: Points) -> tuple[Points, Points, Points]:
    """Means, least and greatest values of at most MAX_POINTS groups of neighbours."""
    if len(points) <= MAX_POINTS:
        return points, points, points
    groups = np.array_split(np.asarray(points, dtype=np.float64), MAX_POINTS)
    centres = [(float(x), float(y)) for x, y in (group.mean(axis=0) for group in groups)]
    lows = [(x, float(group[:, 1].min())) for (x, _), group in zip(centres, groups, strict=True)]
    highs = [(x, float(group[:, 1].max())) for (x, _), group in zip(centres, groups, strict=True)]
    return centres, lows, highs


def _path(points: Points, x_scale: _Scale, y_scale: _Scale) -> str:
    return " ".join(f"{x_scale(x):.2f},{100 - y_scale(y):.2f}" for x, y in points)


def _y_axis(values: Sequence[float], from_zero: bool) -> tuple[_Scale, list[float]]:
    """The scale and where its marks stand."""
    low, high = min(values), max(values)
    if not from_zero and low > 0 and high / low > _LOG_FROM:
        low = max(value for value in _powers(low / 10, low))
        return _Scale(low=low, high=high, log=True), _marks(_powers(low, high))
    low = min(low, 0.0) if from_zero else low
    step = nice(max(high - low, abs(high) * 1e-3, 1e-9) / 4)
    first, last = math.floor(low / step + 1e-6), max(math.ceil(high / step - 1e-6), math.floor(low / step) + 1)
    return _Scale(low=first * step, high=last * step), [index * step for index in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two values."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def _marks(values: list[float]) -> list[float]:
    """All of them, or the lowest and the powers of ten where they are many."""
    return values if len(values) <= 6 else [values[0], *(v for v in values[1:] if math.isclose(math.log10(v) % 1, 0))]


def _multiples(low: float, high: float, step: float) -> list[float]:
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step + 1e-6) + 1)]
