"""The page's modules against the code that made what they read, and its colours against what people can read."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segray
from segray.masks import rle
from segray.pages import overlay

STYLE = (Path(segray.__file__).parent / "serving" / "page" / "style.css").read_text()


def call(page: Any, module: str, expression: str, *arguments: Any) -> Any:
    """What an expression over a module `m` and arguments `a` gives."""
    script = f"""const [...a] = arguments; const done = a.pop();
        import('{page.url}page/{module}').then((m) => done({expression}), (error) => done(String(error)))"""
    return page.browser.execute_async_script(script, *arguments)


def masks() -> list[Any]:
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (7, 5), (40, 60), (300, 200)]
    noise = [rng.random(size) < share for size in sizes for share in (0.02, 0.5, 0.98)]
    y, x = np.mgrid[:480, :640]
    disc = (x - 300) ** 2 + (y - 200) ** 2 < 150**2
    return [*noise, np.ones((20, 30), bool), disc, disc & (x % 40 > 3)]


def box_of(mask: Any) -> list[float]:
    x0, y0, x1, y1 = rle.boxes_xyxy(rle.encode(mask[None]), mask.shape)[0].tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def test_run_lengths_are_read_as_pycocotools_wrote_them(page: Any) -> None:
    counts = [rle.encode(mask[None])[0] for mask in masks()]
    read = call(page, "rle.js", "a[0].map(m.toRuns)", [one.decode() for one in counts])
    assert read == [rle.to_runs(one).tolist() for one in counts]


@pytest.mark.parametrize("shrink", [1, 0.37])
def test_a_grids_cells_are_the_mask_at_their_centres(page: Any, shrink: float) -> None:
    for mask in masks():
        height, width = mask.shape
        grid = {"height": max(1, round(height * shrink)), "width": max(1, round(width * shrink))}
        part = call(
            page,
            "rle.js",
            "((p) => ({...p, bits: [...p.bits]}))(m.toGrid(m.toRuns(a[0]), a[1], a[2], a[3]))",
            rle.encode(mask[None])[0].decode(), [height, width], box_of(mask), grid,
        )  # fmt: skip
        cells = np.zeros((grid["height"], grid["width"]), bool)
        bits = np.array(part["bits"], bool).reshape(part["height"], part["width"])
        cells[part["y"] : part["y"] + part["height"], part["x"] : part["x"] + part["width"]] = bits
        rows = ((np.arange(grid["height"]) + 0.5) * height / grid["height"]).astype(int)
        columns = ((np.arange(grid["width"]) + 0.5) * width / grid["width"]).astype(int)
        expected = mask[rows][:, columns]
        assert np.array_equal(cells, expected) or (mask.any() and not expected.any() and cells.sum() == 1)


def test_an_outline_holds_the_cells_it_was_drawn_around(page: Any) -> None:
    for mask in masks():
        height, width = mask.shape
        if height > 100:
            continue
        held = call(
            page,
            "outlines.js",
            """((path, probe) => a[0].bits.map((_, i) =>
                probe.isPointInPath(path, i % a[0].width + 0.5, Math.floor(i / a[0].width) + 0.5, 'evenodd')))
               (m.outline(a[0]), document.createElement('canvas').getContext('2d'))""",
            {"x": 0, "y": 0, "width": width, "height": height, "bits": mask.astype(int).ravel().tolist()},
        )
        assert np.array_equal(np.array(held).reshape(mask.shape), mask)


def test_classes_have_the_colours_of_overlays(page: Any) -> None:
    assert call(page, "colours.js", "Array.from({length: 80}, (_, i) => m.colour(i))") == overlay.colours(80).tolist()


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground", "least"),
    [
        *[(text, ground, 4.5) for text in ("ink", "muted") for ground in ("ground", "surface", "sunken")],
        ("ink", "wash", 4.5),
        ("accent", "wash", 4.5),
        ("bad", "surface", 4.5),
        ("bad", "wash", 4.5),
        ("on-accent", "accent", 4.5),
        ("edge", "surface", 3),
        ("edge", "ground", 3),
        ("accent", "ground", 3),
    ],
)
def test_colours_can_be_read(theme: str, text: str, ground: str, least: float) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for the edges of controls."""
    blocks = STYLE.split("@media (prefers-color-scheme: dark)")
    block = blocks[0] if theme == "light" else blocks[1].split("}")[0]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
    assert contrast(colours[text], colours[ground]) >= least
