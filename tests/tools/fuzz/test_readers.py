"""A few hostile files of each kind in every test run; `make fuzz` reads ten thousand."""

import json
import time

import numpy as np
import pytest

from segray.errors import ImageError
from segray.images import decoding
from tools.fuzz import readers
from tools.fuzz.mutations import ODD, changed_bytes, changed_json, changed_text
from tools.fuzz.readers import CHECKS, run


@pytest.mark.parametrize("kind", CHECKS)
def test_hostile_files_are_used_counted_or_refused(kind, tmp_path):
    outcomes, faults = run(kind, 80, seed=11, folder=tmp_path)
    assert faults == []
    assert outcomes.total() == 80
    assert outcomes["used"] > 5


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (ZeroDivisionError("of a reader"), "ZeroDivisionError"),
        (ImageError("strange", ""), "a reason that nobody knows"),
    ],
)
def test_a_fault_is_told_and_its_input_kept(tmp_path, monkeypatch, broken, told):
    def fail(*_):
        raise broken

    monkeypatch.setattr(decoding, "decode", fail)
    outcomes, faults = run("images", 40, seed=0, folder=tmp_path)
    assert outcomes["fault"] == len(faults) > 0
    assert told in faults[0]
    assert len(list(tmp_path.glob("fault-*"))) == len(faults)


def test_an_input_that_takes_too_long_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "HANG_S", 1)
    monkeypatch.setitem(CHECKS, "images", lambda *_: time.sleep(60))
    outcomes, faults = run("images", 1, seed=0, folder=tmp_path)
    assert outcomes == {"fault": 1}
    assert "TimeoutError: no answer within 1 s" in faults[0]


@pytest.mark.parametrize(
    ("change", "given"),
    [
        (changed_bytes, bytes(range(200))),
        (changed_text, "0 0.1 0.2\n1 0.3"),
        (changed_json, {"a": [1, {"b": 2}], "c": "d"}),
    ],
)
def test_changes_follow_the_seed_and_change_something(change, given):
    made = [repr(change(given, np.random.default_rng(seed))) for seed in range(60)]
    assert made == [repr(change(given, np.random.default_rng(seed))) for seed in range(60)]
    assert len(set(made)) > 30
    assert sum(one != repr(given) for one in made) > 50


def test_odd_values_can_be_written():
    assert all(json.dumps(value) for value in ODD)
