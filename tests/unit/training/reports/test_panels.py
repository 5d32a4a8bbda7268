"""Panels come back as they were, in order, whatever is on them."""

from pathlib import Path

import numpy as np

from segray.masks.instances import Instances
from segray.training.reports.panels import Panel, read_panels, write_panels


def instances(rng: np.random.Generator, number: int) -> Instances:
    masks = rng.random((number, 24, 32)) > 0.5
    return Instances.from_masks(masks, provenance="student", classes=rng.integers(0, 3, number))


def test_panels_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    panels = [
        Panel(
            # The same image twice: panels are told apart by their place.
            image_id="a.png",
            pixels=rng.integers(0, 256, (24, 32, 3), dtype=np.uint8),
            columns=(("truth", instances(rng, 3)), ("student", instances(rng, number))),
        )
        for number in (0, 2)
    ]
    write_panels(str(tmp_path), panels)
    back = read_panels(str(tmp_path))
    assert [(one.image_id, [title for title, _ in one.columns]) for one in back] == [
        ("a.png", ["truth", "student"])
    ] * 2
    for one, other in zip(back, panels, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        for (_, found), (_, expected) in zip(one.columns, other.columns, strict=True):
            assert found.counts.tolist() == expected.counts.tolist()
            assert found.classes.tolist() == expected.classes.tolist()


def test_no_panels(tmp_path: Path) -> None:
    assert read_panels(str(tmp_path)) == []
    write_panels(str(tmp_path), [])
    assert read_panels(str(tmp_path)) == []
