"""Every store and file that a config names is looked for, however deep in it the name stands."""

import pytest

from segray.config.base import build
from segray.config.stages import CamConfig
from segray.jobs import inputs
from segray.testing import write_coco


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"labeled": {}}, None),
        ({"labeled": {"annotations": "nowhere.json"}}, "maps.threshold.labeled"),
        ({"labeled": {}, "voting": {"masks": "nowhere"}}, "maps.threshold.voting.masks"),
    ],
)
def test_what_a_threshold_is_chosen_on_is_there(tmp_path, given, key):
    world = write_coco(tmp_path / "world", 2)
    source = {"kind": "coco", "uri": world.uri, "annotations": world.annotations}
    tables = {
        "job": "cam",
        "source": source,
        "tags": {"kind": "coco", "coco": source},
        "stores": str(tmp_path / "stores"),
        "taggers": str(tmp_path / "taggers"),
        "maps": {"threshold": {**given, "labeled": source | given["labeled"]}},
    }
    found = inputs.problems(build(CamConfig, tables, "test"))
    assert [one.partition(": ")[0] for one in found] == ([] if key is None else [key])
