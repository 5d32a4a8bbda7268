"""The frame of all reports: numbers in words, nested settings as dotted keys."""

import pytest

from segray.pages.page import duration, figure, flattened, small_units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0421, "0.0421 s"),
        (12, "12 s"),
        (59.97, "60 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3599.9, "1 h"),
        (18600, "5 h 10 min"),
        (1051200, "12 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_units_are_small_and_the_rest_is_text() -> None:
    assert small_units("3 min 20 s") == "3 <small>min</small> 20 <small>s</small>"
    assert small_units("<b> 1") == "&lt;b&gt; 1"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.000123456, "0.000123"), (1.5, "1.50"), (12.345, "12.3"), (1234.5, "1,234"), (float("inf"), "inf")],
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


def test_settings_become_dotted_keys() -> None:
    nested = {"a": {"b": {"c": 1}, "d": None}, "e": [1, 2]}
    assert list(flattened(nested)) == [("a.b.c", "1"), ("a.d", "none"), ("e", "[1, 2]")]
