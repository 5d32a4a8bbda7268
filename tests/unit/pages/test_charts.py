"""Histograms: what is counted where, and marks that say the truth."""

import numpy as np
import pytest

from segray.pages.charts import Axis, StreamingHistogram, chart

PLAIN = Axis(label="x", tell=lambda value: f"{value:g}")
WHOLE = Axis(label="x", tell=lambda value: f"{value:g}", whole=True)
POWERS = Axis(label="x", tell=lambda power: f"1e{power:g}", decades=True)


def unit(values: object) -> StreamingHistogram:
    counted = StreamingHistogram(0.001, low=0, high=1)
    counted.add(values)
    return counted


def test_every_value_is_in_one_bar() -> None:
    values = np.random.default_rng(1).beta(8, 2, 5000)
    laid = chart(unit(values), title="t", axis=PLAIN, of="masks")
    told = [int(bar.text.split(": ")[1].split()[0].replace(",", "")) for bar in laid.bars]
    assert sum(told) == laid.number == 5000
    for bar, count in zip(laid.bars, told, strict=True):
        low, high = (float(word) for word in bar.text.split(":")[0].split(" to "))
        thousandths = np.floor(values * 1000)
        assert np.sum((thousandths >= round(low * 1000)) & (thousandths < round(high * 1000))) == count
    assert float(laid.median.text) == pytest.approx(np.median(values), abs=0.001)


def test_heights_and_marks_share_a_scale() -> None:
    laid = chart(unit([0.1] * 75 + [0.9] * 10), title="t", axis=PLAIN, of="masks")
    scale = {float(mark.text): mark.at for mark in laid.y_marks}
    assert scale[0] == 0
    assert max(bar.height for bar in laid.bars) == pytest.approx(75 * scale[50] / 50)
    assert max(scale.values()) == 100


@pytest.mark.parametrize(
    "values", [[1.0], [0.0], [0.5], [1.0, 1.0 - 1e-9], [0.0, 1.0], np.linspace(0.88, 1, 300), [float("nan"), 0.2]]
)
def test_bars_and_marks_stay_in_the_plot(values: list[float]) -> None:
    laid = chart(unit(values), title="t", axis=PLAIN, of="masks")
    assert len(laid.x_marks) >= 2
    for bar in laid.bars:
        assert bar.left >= 0
        assert bar.left + bar.width <= 100.001
        assert 0 < bar.height <= 100
    for mark in (*laid.x_marks, *laid.y_marks, laid.median):
        assert 0 <= mark.at <= 100
    assert all(0 <= float(mark.text) <= 1 for mark in laid.x_marks)


def test_the_bar_of_a_value_stands_over_its_mark() -> None:
    laid = chart(unit([0.2] * 3 + [0.7] * 5), title="t", axis=PLAIN, of="masks")
    places = {mark.text: mark.at for mark in laid.x_marks}
    assert [bar.left for bar in laid.bars] == pytest.approx([places["0.2"], places["0.7"]])


def test_whole_numbers_have_their_mark_under_the_middle() -> None:
    counted = StreamingHistogram(1, low=0)
    counted.add([0, 3, 3, 7])
    laid = chart(counted, title="t", axis=WHOLE, of="images")
    assert [bar.text for bar in laid.bars] == ["0: 1 images", "3: 2 images", "7: 1 images"]
    places = {mark.text: mark.at for mark in laid.x_marks}
    assert places["0"] == pytest.approx(laid.bars[0].left + laid.bars[0].width / 2)
    assert laid.median.text == "3"


def test_many_whole_numbers_share_bars() -> None:
    counted = StreamingHistogram(1, low=0)
    counted.add(np.arange(900))
    laid = chart(counted, title="t", axis=WHOLE, of="images")
    assert len(laid.bars) <= 30
    assert laid.bars[0].text.startswith("0 to ")


def test_powers_have_marks_at_whole_ones() -> None:
    counted = StreamingHistogram(0.01, low=-9, high=0)
    counted.add(np.log10([0.99, 0.01, 0.0001]))
    laid = chart(counted, title="t", axis=POWERS, of="masks")
    assert [mark.text for mark in laid.x_marks] == ["1e-4", "1e-3", "1e-2", "1e-1", "1e0"]


def test_what_was_not_measured_is_told() -> None:
    laid = chart(unit([float("nan")] * 4), title="t", axis=PLAIN, of="masks")
    assert (laid.bars, laid.number, laid.unmeasured, laid.median) == ((), 0, 4, None)


def test_memory_is_bounded() -> None:
    assert len(unit(np.random.default_rng(0).random(100_000)).bins) <= 1000
