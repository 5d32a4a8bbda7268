import pytest

from segray.config.base import build
from segray.config.serve import ServeConfig
from segray.errors import ConfigError

TABLES = {"job": "serve", "keys": {"kind": "off"}, "student": {"uri": "x"}}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"keys": {"kind": "off"}, "host": "0.0.0.0"}, "give a key file, or say keys.exposed = true"),
        ({"student": {"uri": "x", "max_ongoing": 4}}, "a batch of batching.max_images 8 can never fill"),
        ({"student": {"uri": "x", "target_ongoing": 17.0}}, "target_ongoing 17 is above max_ongoing 16"),
        ({"student": {"uri": "x", "precision": "float16", "device": "cpu"}}, "precision 'float16' needs CUDA"),
        ({"ingress": {"min": 2}}, "min 2 is above max 1"),
        (
            {"ingress": {"max": 3}, "ingress_max_ongoing": 2, "limits": {"max_images": 1}},
            "max_images 8 can never fill: 3 x ingress_max_ongoing 2 requests of limits.max_images 1 hold 6 images",
        ),
        (
            {"ingress": None, "ingress_max_ongoing": 3, "limits": {"max_images": 2}},
            "max_images 8 can never fill: 1 x ingress_max_ongoing 3",
        ),
        (
            {"student": {"uri": "x", "batching": {"wait_ms": 30000}}},
            "wait_ms 30000 is no less than limits.timeout_s 30",
        ),
        ({"limits": {"max_queued": 8}}, "max_images 16 is above max_queued 8"),
        ({"limits": {"max_held_megapixels": 40.0}}, "max_megapixels 50 is above max_held_megapixels 40"),
        ({"keys": {"kind": "none"}}, "keys.kind"),
        ({"keys": {"kind": "file"}}, "keys.path: missing"),
    ],
)
def test_settings_that_cannot_go_together_are_an_error_at_load_time(changes, problem):
    with pytest.raises(ConfigError) as caught:
        build(ServeConfig, TABLES | changes, "here")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"host": "::1"},
        {"ingress": None, "ingress_max_ongoing": 4, "limits": {"max_images": 2}},
        {"host": "0.0.0.0", "keys": {"kind": "off", "exposed": True}},
        {"host": "0.0.0.0", "keys": {"kind": "file", "path": "keys"}},
        {"limits": {"max_megapixels": 200.0}},
    ],
)
def test_settings_that_go_together_are_a_config(changes):
    assert build(ServeConfig, TABLES | changes, "here").job == "serve"
