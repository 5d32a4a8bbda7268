"""A setting that has no effect beside others is an error while loading, and names its key."""

from typing import Any

import pytest

from segray.config import base
from segray.config.label import ClassifyConfig, LabelConfig, LabelWorkers
from segray.config.sam import Tiles
from segray.errors import ConfigError
from segray.methods.s4m.config import Arp
from segray.methods.unimatch.config import ZeroShot

LABEL = {"job": "label", "stores": "out", "source": {"kind": "folder", "uri": "images"}}
CLASSIFY = {"job": "classify", "stores": "out", "masks": "store", "vocabulary": {"classes": ["fish"]}}
FILL = {"store": "labels", "use": "fill"}

CASES = [
    (LabelConfig, LABEL, {"seed": 1}, {"sample": 3}),
    (LabelWorkers, {"num_workers": 2}, {"max_workers": 4}, {"num_workers": None}),
    (LabelWorkers, {"num_workers": 0}, {"min_workers": 2}, {"num_workers": None, "max_workers": 2}),
    (ClassifyConfig, {**CLASSIFY, "output": "objects"}, {"overlaps": "best"}, {"output": "map"}),
    (Tiles, {"merge": "nms"}, {"merge_iou": 0.7}, {"merge": "union"}),
    (Arp, {"mode": "static"}, {"min_scale": 0.5}, {"mode": "dynamic"}),
    (Arp, {"mode": "static"}, {"max_scale": 2.0}, {"mode": "dynamic"}),
    (ZeroShot, FILL, {"trust": 0.2}, {"use": "guide"}),
    (ZeroShot, {**FILL, "use": "only"}, {"last_trust": 0.2}, {"use": "relabel"}),
]
"""A config class, tables of it, a setting without effect beside them, and a change with which it has one."""


@pytest.mark.parametrize(("cls", "tables", "idle", "change"), CASES)
def test_a_setting_without_effect_is_refused(
    cls: type, tables: dict[str, Any], idle: dict[str, Any], change: dict[str, Any]
) -> None:
    ((key, value),) = idle.items()
    with pytest.raises(ConfigError) as caught:
        base.build(cls, {**tables, **idle}, "test")
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{key}: {value!r} has no effect, because ")
    assert getattr(base.build(cls, {**tables, **idle, **change}, "test"), key) == value


@pytest.mark.parametrize(("cls", "tables", "idle"), [case[:3] for case in CASES])
def test_its_default_may_stand(cls: type, tables: dict[str, Any], idle: dict[str, Any]) -> None:
    (key,) = idle
    default = getattr(base.build(cls, tables, "test"), key)
    assert base.build(cls, {**tables, key: default}, "test") == base.build(cls, tables, "test")
