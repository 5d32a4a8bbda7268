"""How fast a run is, as seen from outside."""

import pytest

from segray.training.runs.watch import Rate


@pytest.mark.parametrize(
    ("looks", "rates"),
    [
        ([(100, 10.0), (120, 20.0), (140, 30.0)], [0.0, 2.0, 2.0]),
        # A resumed run begins behind its old lines, which were there at the first look.
        ([(100, 10.0), (50, 20.0), (60, 25.0), (110, 50.0)], [0.0, 0.0, 2.0, 2.0]),
    ],
)
def test_the_rate_is_of_steps_seen_and_never_negative(looks, rates):
    rate = Rate()
    assert [rate.at(*look) for look in looks] == pytest.approx(rates)
