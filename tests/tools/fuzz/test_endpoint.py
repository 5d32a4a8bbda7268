"""A few hostile calls of the endpoint; `make fuzz` makes thousands."""

from collections import Counter

from segray.serving.http import images
from tools.fuzz.endpoint import run, send_images


def test_hostile_calls_are_answered_as_the_document_says():
    outcomes, faults = run(60, seed=3)
    assert faults == []
    assert outcomes.total() >= 60
    assert outcomes["200"] > 0


def test_an_exception_of_the_application_is_a_fault(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(images.decoding, "probe", fail)
    outcomes = Counter()
    faults = send_images(5, 3, outcomes)
    assert outcomes == {"500": 5}
    assert all("500, application/problem+json" in one for one in faults)
