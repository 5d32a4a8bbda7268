"""Every store and file that a config names is looked for, however deep in it the name stands; sources are counted."""

from pathlib import Path

import pytest

from segray.config.base import build
from segray.jobs import inputs
from segray.methods.config import TrainConfig
from segray.methods.sepl.config import CamConfig
from segray.testing import write_coco


def missing(kind, tables):
    """Paths of what is not there."""
    return [one.partition(": ")[0] for one in inputs.input_problems(build(kind, tables, "test"))]


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
    assert missing(CamConfig, tables) == ([] if key is None else [key])


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ({"kind": "unimatch", "zero_shot": {"store": "nowhere"}}, "method.zero_shot.store"),
        (
            {"kind": "s4m", "student": {"refinement": {"kind": "cached", "store": "nowhere"}}},
            "method.student.refinement.store",
        ),
        ({"kind": "unimatch"}, None),
    ],
)
def test_what_a_recipe_learns_from_is_there(tmp_path, method, key):
    world = write_coco(tmp_path / "world", 2)
    source = {"kind": "coco", "uri": world.uri, "annotations": world.annotations}
    tables = {
        "job": "train",
        "method": method,
        "data": {"labeled": source, "unlabeled": source},
        "student": {"kind": "fpn"} if method["kind"] == "unimatch" else {"kind": "mask2former"},
        "runs": str(tmp_path / "runs"),
    }
    assert missing(TrainConfig, tables) == ([] if key is None else [key])


CASES = Path(__file__).parents[4] / "shared/cases"


def test_sources_are_counted_as_their_job_reads_them(tmp_path):
    """Only where a job learns or measures are masks read; beside the images lie notes."""
    given = {"kind": "coco", "uri": str(CASES / "00-base/images")}
    data = {
        "labeled": given | {"annotations": str(CASES / "04-crowd-masks/mixed.json")},
        "validation": given | {"annotations": str(CASES / "04-crowd-masks/mixed.json"), "crowds": "masks"},
        "unlabeled": {"kind": "folder", "uri": str(CASES)},
    }
    tables = {"job": "train", "runs": str(tmp_path), "data": data, "method": {"kind": "s4m"}}
    read = inputs.read_inputs(build(TrainConfig, tables, "test"))
    counted = {path: (tally["images"].used, tally["annotations"].used) for path, tally in read.items()}
    others = read["data.unlabeled"]
    assert counted == {
        "data.labeled": (6, 12),
        "data.validation": (6, 24),
        "data.unlabeled": (others["files"].used, 0),
    }
    assert others["files"].used >= 46
    assert "00-base/instances.json" in others["files"].left_out["beside"].examples
