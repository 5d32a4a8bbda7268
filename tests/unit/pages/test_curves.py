"""Curves: where points lie, what the axes say, how many points remain."""

import pytest

from segray.pages.curves import MAX_POINTS, curves


def tell(value: float) -> str:
    return f"{value:g}"


def test_points_lie_where_their_values_are() -> None:
    chart = curves({"ap": [(0, 0.0), (50, 0.2), (100, 0.4)]}, title="AP", tell=tell, from_zero=True)
    (line,) = chart.lines
    assert line.points == "0.00,100.00 50.00,50.00 100.00,0.00"
    assert next((mark.at, mark.text) for mark in chart.y_marks) == (0, "0")
    assert chart.y_marks[-1].text == "0.4"
    assert [mark.text for mark in chart.x_marks] == ["0", "20", "40", "60", "80", "100"]
    assert [dot.text for dot in line.dots] == ["ap, 0: 0", "ap, 50: 0.2", "ap, 100: 0.4"]
    assert line.last == "0.4"
    assert line.band == ""


def test_two_curves_share_their_axes() -> None:
    chart = curves({"a": [(10, 1.0)], "b": [(20, 3.0)], "none": []}, title="", tell=tell, from_zero=True)
    assert [line.points for line in chart.lines][2] == ""
    assert chart.lines[0].points.startswith("50.00,")
    assert chart.y_marks[-1].text == "3"


def test_wide_spans_are_logarithmic() -> None:
    chart = curves({"loss": [(0, 100.0), (1, 10.0), (2, 1.0)]}, title="", tell=tell)
    assert chart.lines[0].points == "0.00,0.00 50.00,50.00 100.00,100.00"
    assert [mark.text for mark in chart.y_marks] == ["1", "10", "100"]
    chart = curves({"loss": [(0, 30.0), (1, 3.0)]}, title="", tell=tell)
    assert next((mark.at, mark.text) for mark in chart.y_marks) == (0, "2")


@pytest.mark.parametrize("values", [[5.0, 5.0], [0.0, 0.0], [-3.0, -1.0], [1e-9, 2e-9], [2.0], [0.0, 1e6]])
def test_any_values_have_axes(values: list[float]) -> None:
    chart = curves({"x": list(enumerate(values))}, title="", tell=tell)
    assert len(chart.y_marks) >= 2
    assert all(0 <= mark.at <= 100 for mark in (*chart.x_marks, *chart.y_marks))


def test_many_points_become_few_with_a_band() -> None:
    points = [(float(x), float(x % 2)) for x in range(5000)]
    (line,) = curves({"x": points}, title="", tell=tell).lines
    assert len(line.points.split()) == MAX_POINTS
    assert len(line.band.split()) == 2 * MAX_POINTS
    assert line.dots == ()
    # Means lie in the middle, the band spans all.
    assert {round(float(point.split(",")[1])) for point in line.points.split()} <= {48, 49, 50, 51, 52}
    assert {float(point.split(",")[1]) for point in line.band.split()} == {0.0, 100.0}


@pytest.mark.parametrize(
    ("named", "once"),
    [
        ({"a": [(80, 10.0)], "b": [(80, 5.0)], "none": []}, "Measured once, at step 80."),
        ({"a": [(80, 10.0)], "b": [(1200, 5.0)]}, "Measured once each."),
        ({"a": [(80, 10.0)], "b": [(80, 5.0), (90, 6.0)]}, ""),
    ],
)
def test_single_points_are_told_to_be_so_and_have_heights_from_zero(
    named: dict[str, list[tuple[float, float]]], once: str
) -> None:
    chart = curves(named, title="", tell=tell)
    assert chart.once == once
    if once:
        assert [line.dots[0].bottom for line in chart.lines if line.dots] == [100, 50]


def test_nothing_to_draw() -> None:
    assert curves({"a": []}, title="t", tell=tell).lines == ()
