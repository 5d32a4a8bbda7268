"""Images of many bands, of which a config chooses three: labeled, trained on and measured as the same colours."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segray.config.base import build
from segray.config.label import LabelConfig
from segray.datasets.training_rows import TrainingRows
from segray.errors import ConfigError
from segray.evaluation.row_examples import RowExamples
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.images import decoding
from segray.jobs.label import find_store, label
from segray.jobs.outputs import report
from segray.testing import write_coco

BANDS = (4, 3, 2)


@pytest.fixture
def many_bands(tmp_path) -> CocoSource:
    """Four images of seven bands, three of which are the colours of a picture."""
    source = write_coco(tmp_path / "world", 4)
    document = json.loads(Path(source.annotations).read_text())
    for image in document["images"]:
        path = Path(source.uri) / image["file_name"]
        bands = np.zeros((64, 64, 7), np.uint16)
        bands[..., [one - 1 for one in BANDS]] = np.asarray(Image.open(path).convert("RGB"))
        image["file_name"] = path.with_suffix(".tif").name
        tifffile.imwrite(path.with_suffix(".tif"), bands, photometric="minisblack", planarconfig="contig")
        path.unlink()
    Path(source.annotations).write_text(json.dumps(document))
    return source


def config(source: CocoSource, tmp_path: Path, **limits: object) -> LabelConfig:
    tables = {
        "job": "label",
        "stores": str(tmp_path / "stores"),
        "source": {"kind": "coco", "uri": source.uri, "annotations": source.annotations},
        "masks": {"mode": "fast", "points_per_side": 2},
        "workers": {"num_workers": 0},
        "limits": limits,
        "max_damaged": 1,
    }
    return build(LabelConfig, tables, "test")


def test_a_label_job_sees_the_chosen_bands_and_its_report_too(many_bands, tmp_path):
    chosen = config(many_bands, tmp_path, bands=list(BANDS))
    assert label(chosen).refused == {}
    store = find_store(chosen)
    assert store.manifest.content["bands"] == list(BANDS)
    report(store, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count("data:image/") >= 4


def test_without_a_choice_they_are_unsupported(many_bands, tmp_path):
    assert label(config(many_bands, tmp_path)).refused == {"unsupported": 4}


def test_rows_carry_the_choice_to_training_and_evaluation(many_bands, tmp_path):
    rows = TrainingRows.build(open_source(many_bands), tmp_path / "a.arrow", bands=BANDS)
    plain = TrainingRows.build(open_source(many_bands), tmp_path / "b.arrow")
    assert TrainingRows.open(rows.path).bands == BANDS
    assert rows.fingerprint != plain.fingerprint
    expected = decoding.load(rows.row(0).uri, 10_000, BANDS)[0]
    assert expected.std() > 10
    assert np.array_equal(RowExamples(rows)[0].pixels, expected)


@pytest.mark.parametrize("bands", [[1, 2], [0, 1, 2], [1, 2, 3, 4], ["a", 1, 2]])
def test_bands_are_three_counted_from_one(many_bands, tmp_path, bands):
    with pytest.raises(ConfigError, match="bands"):
        config(many_bands, tmp_path, bands=bands)
