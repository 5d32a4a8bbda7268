"""Labels of a store against known masks: by what they are, of images that both know."""

import json

import numpy as np
import pytest

from segray.errors import ConfigError, LabelError
from segray.evaluation.instance_scores import InstanceResult
from segray.evaluation.stores import measure_store
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.masks.instances import Instances
from segray.masks.semantic import from_map
from segray.store import Store
from segray.store.rows import LabeledRow
from segray.testing import write_coco

IMAGES, SIDE = 6, 64
MAPS = ("background", "square", "disc")


@pytest.fixture
def truth(tmp_path):
    return open_source(write_coco(tmp_path / "truth", IMAGES, side=SIDE))


@pytest.fixture
def stored(tmp_path, truth):
    """`stored(label, classes)`: a store of what `label(image id)` gives; None is an image that was refused."""

    def make(label, classes=()):
        store = Store.create(str(tmp_path / "stores"), "labels", {"classes": list(classes)})
        rows = [(image, label(image.image_id)) for image in truth.rows()]
        store.write_part(
            [
                LabeledRow(image=image, instances=found, error=None if found is not None else "empty")
                for image, found in rows
            ]
        )
        return store

    return make


def with_classes(found, classes):
    return Instances.from_rle(list(found.counts), found.size_hw, provenance="x", classes=classes)


def as_map(truth, image_id, rows=SIDE):
    """The truth as a map of background, square, disc, known in the first `rows` rows of pixels."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    found = truth.instances(image_id)
    for index in np.argsort(-found.areas, kind="stable"):
        labels[found.to_masks()[index]] = (2, 1)[found.classes[index]]
    labels[rows:] = 255
    return from_map(labels, provenance="test")


@pytest.mark.parametrize(("rows", "coverage"), [(SIDE, 1.0), (SIDE // 2, 0.5)])
def test_maps_are_measured_by_miou_and_coverage_whatever_the_order_of_classes(stored, truth, rows, coverage):
    store = stored(lambda image_id: as_map(truth, image_id, rows), MAPS)
    result = measure_store(store, truth)
    assert result.coverage == pytest.approx(coverage)
    assert result.accuracy == pytest.approx(coverage)
    assert (result.miou == pytest.approx(1)) == (coverage == 1)
    assert list(result.per_class) == list(MAPS)


def test_objects_are_measured_by_ap(stored, truth):
    def label(image_id):
        found = truth.instances(image_id)
        return with_classes(found, 1 - found.classes)

    result = measure_store(stored(label, ("square", "disc")), truth)
    assert isinstance(result, InstanceResult)
    assert result.coco.ap == pytest.approx(1)
    assert result.cityscapes is None
    by_both = measure_store(stored(label, ("square", "disc")), truth, protocol="cityscapes").figures()
    assert by_both["ap_cityscapes"] == pytest.approx(1)


def test_masks_without_a_class_are_measured_by_recall(stored, truth):
    seen = []
    store = stored(lambda image_id: with_classes(truth.instances(image_id), None))
    with pytest.raises(ConfigError, match="holds none: leave it out"):
        measure_store(store, truth, protocol="cityscapes")
    result = measure_store(store, truth, lambda: seen.append(1))
    assert result.figures() == {"recall": pytest.approx(1)}
    assert len(seen) == result.num_images == IMAGES


def test_images_that_were_refused_take_no_part(stored, truth):
    first = next(truth.rows()).image_id

    def label(image_id):
        return None if image_id == first else as_map(truth, image_id)

    assert measure_store(stored(label, MAPS), truth).num_images == IMAGES - 1


def renamed(folder, change):
    """The truth once more, its document changed."""
    source = write_coco(folder, IMAGES, side=SIDE)
    path = folder / "instances.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return open_source(CocoSource(uri=source.uri, annotations=source.annotations))


def other_names(document):
    for one in document["images"]:
        one["file_name"] = f"other-{one['file_name']}"


def other_class(document):
    document["categories"][0]["name"] = "star"


def other_size(document):
    for one in document["images"]:
        one["height"] = one["width"] = SIDE // 2
    document["annotations"] = []


@pytest.mark.parametrize(
    ("change", "problem"),
    [(other_names, "no image in common"), (other_class, "classes star, which"), (other_size, "of two versions")],
)
def test_what_cannot_be_compared_is_said(tmp_path, stored, truth, change, problem):
    store = stored(lambda image_id: as_map(truth, image_id), MAPS)
    with pytest.raises(LabelError, match=problem):
        measure_store(store, renamed(tmp_path / "changed", change))
