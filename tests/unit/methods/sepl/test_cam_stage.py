import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segray.config.base import build
from segray.errors import LabelError
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.formats.voc import VocSource
from segray.jobs.stages import images_of, stage_of
from segray.masks.semantic import from_map, paint
from segray.methods.sepl.config import CamConfig
from segray.storage import files
from segray.store import Store
from segray.store.rows import LabeledRow

SIDE = 64


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Noise with a red square, a blue square, both or none in it; and what each image shows, and where."""
    folder = tmp_path_factory.mktemp("world")
    rng, lines, truth = np.random.default_rng(0), ["image_id,tags"], {}
    for index in range(24):
        pixels = rng.integers(90, 160, (SIDE, SIDE, 3), dtype=np.uint8)
        labels, tags = np.zeros((SIDE, SIDE), np.uint8), []
        for place, (name, colour) in enumerate((("blue", (20, 20, 220)), ("red", (220, 20, 20)))):
            if index >> place & 1:
                y, x = rng.integers(0, 40), rng.integers(32 * place, 32 * place + 10)
                pixels[y : y + 20, x : x + 20], labels[y : y + 20, x : x + 20] = colour, place + 1
                tags.append(name)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
        lines.append(f"{index:02}.png,{';'.join(tags)}")
        truth[f"{index:02}.png"] = labels
    (folder / "tags.csv").write_text("\n".join(lines))
    labeled = folder / "truth"
    labeled.mkdir()
    for name, labels in truth.items():
        Image.fromarray(labels).save(labeled / name)
    return folder, truth


@pytest.fixture
def config(world, tmp_path):
    def make(**given):
        tables = {
            "job": "cam",
            "stores": str(tmp_path / "stores"),
            "taggers": str(world[0] / "taggers"),
            "source": {"kind": "folder", "uri": str(world[0])},
            "tags": {"kind": "csv", "uri": str(world[0] / "tags.csv")},
            "tagger": {"side": SIDE, "steps": 40, "batch": 8, "learning_rate": 1e-3},
            "maps": {"scales": [1.0], "threshold": 0.4},
        }
        return build(CamConfig, tables | given, "test")

    return make


def test_maps_learned_from_tags_show_where_things_are(run, config, world):
    stage = stage_of(config())
    images = [row for row in images_of(stage.config)[1] if "/" not in row.image_id]
    store, rows = run(stage, images)
    assert store.manifest.content["classes"] == ["background", "blue", "red"]
    ious = []
    for image_id, truth in world[1].items():
        found = rows[image_id].instances
        assert set(found.classes) <= {0, *np.unique(truth)}, "no class without its tag"
        for one in np.unique(truth[truth > 0]):
            same = paint(found) == one
            ious.append((same & (truth == one)).sum() / (same | (truth == one)).sum())
    assert np.mean(ious) > 0.2, "the whole image would give 0.1, the wrong place 0"


def test_a_classifier_is_trained_once(config, world):
    before = stage_of(config())
    weights = world[0] / "taggers"
    stamps = {path.name: path.stat().st_mtime_ns for path in weights.glob("*.safetensors")}
    after = stage_of(config(maps={"scales": [1.0], "threshold": 0.2}))
    assert {path.name: path.stat().st_mtime_ns for path in weights.glob("*.safetensors")} == stamps
    assert json.dumps(before.content) != json.dumps(after.content)


@pytest.fixture
def labeled(world):
    few = world[0] / "few"
    few.mkdir()
    for name in ("01.png", "02.png", "03.png"):
        (few / name).write_bytes((world[0] / name).read_bytes())
    yield {
        "kind": "voc",
        "uri": str(few),
        "masks": str(world[0] / "truth"),
        "classes": ["background", "blue", "red"],
    }
    shutil.rmtree(few)


@pytest.fixture
def masks(world, labeled, tmp_path):
    """A store of the true masks of all images."""
    sources = build(FolderSource, {"uri": str(world[0])}, "test"), build(VocSource, labeled, "test")
    rows = {row.image_id: row for source in sources for row in open_source(source).rows()}
    store = Store.create(str(tmp_path / "masks"), "masks", {})
    store.write_part(
        [
            LabeledRow(image=rows[image_id], instances=from_map(truth, provenance="gt"))
            for image_id, truth in world[1].items()
        ]
    )
    return store.uri


def test_the_backgrounds_score_is_chosen_on_labeled_images(config, labeled):
    stage = stage_of(config(maps={"scales": [1.0], "threshold": {"labeled": labeled, "candidates": [0.0, 0.4, 1.0]}}))
    assert stage.threshold == 0.4


@pytest.mark.parametrize("votes", [False, True])
def test_no_image_and_no_truth_but_the_labeled_ones_is_opened_for_it(config, world, labeled, masks, monkeypatch, votes):
    stage_of(config())  # The classifier may see every image; from here on it is trained.
    opened, read = [], files.read_bytes
    monkeypatch.setattr(files, "read_bytes", lambda uri, *limit: opened.append(uri) or read(uri, *limit))
    stage_of(config(maps={"threshold": {"labeled": labeled, "voting": {"masks": masks} if votes else None}}))
    names = {f"{folder}/{name}.png" for folder in ("few", "truth") for name in ("01", "02", "03")}
    assert {str(Path(uri).relative_to(world[0])) for uri in opened if uri.endswith(".png")} == names


def test_the_backgrounds_score_is_chosen_for_what_a_vote_leaves(config, labeled, masks):
    threshold = {"labeled": labeled, "candidates": [0.3, 0.7]}
    voting = {"masks": masks, "rule": {"max_image_share": 0.5}}
    of_maps = stage_of(config(maps={"scales": [1.0], "threshold": threshold}))
    of_votes = stage_of(config(maps={"scales": [1.0], "threshold": {**threshold, "voting": voting}}))
    assert (of_maps.threshold, of_votes.threshold) == (0.7, 0.3), "masks take away what is too much"


def test_a_labeled_image_without_masks_to_vote_is_an_error(config, labeled, tmp_path):
    voting = {"masks": Store.create(str(tmp_path / "masks"), "masks", {}).uri}
    with pytest.raises(LabelError, match=r"'01.png' has no masks"):
        stage_of(config(maps={"scales": [1.0], "threshold": {"labeled": labeled, "voting": voting}}))


def test_images_without_tags_are_refused(run, config, world, tmp_path):
    (tmp_path / "tags.csv").write_text((world[0] / "tags.csv").read_text().replace("03.png", "99.png"))
    stage = stage_of(config(tags={"kind": "csv", "uri": str(tmp_path / "tags.csv")}, tagger={"side": 32, "steps": 1}))
    images = [row for row in images_of(stage.config)[1] if row.image_id == "03.png"]
    _, rows = run(stage, images)
    assert rows["03.png"].error == "no-tags"
