"""The report: true figures, everything in one file, nothing of a hostile id let through."""

import base64
import dataclasses
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from segray.errors import ImageError
from segray.labels.cost import cost_table
from segray.labels.report.report import write_report
from segray.masks.instances import Instances
from segray.masks.semantic import from_map
from segray.pages.page import visible
from segray.store.rows import ImageRow, LabeledRow

SIZE_HW = (300, 640)
CREATED = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


def labeled(image_id: str, masks: int = 3, seconds: float = 2.0) -> LabeledRow:
    dense = np.zeros((masks, *SIZE_HW), dtype=bool)
    for index, mask in enumerate(dense):
        mask[20 * index : 20 * index + 30, 10:200] = True
    found = Instances.from_masks(dense, provenance="sam:nano", scores=[0.9] * masks)
    return LabeledRow(image=ImageRow(image_id=image_id, uri=image_id, version="1"), instances=found, seconds=seconds)


def refused(image_id: str, reason: str = "damaged", detail: str = "why") -> LabeledRow:
    return LabeledRow(image=ImageRow(image_id=image_id, uri=image_id, version="1"), error=reason, detail=detail)


def pixels(_: ImageRow) -> np.ndarray:
    return np.full((*SIZE_HW, 3), 80, dtype=np.uint8)


def written(out: Path, rows: list[LabeledRow], **options: object) -> str:
    options = {"summary": {}, "images": pixels, "title": "beach", "settings": {}, "created": CREATED} | options
    write_report(iter(rows), out, **options)
    return out.read_text(encoding="utf-8")


class Seen(HTMLParser):
    """Elements with their attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_key_figures(tmp_path: Path) -> None:
    rows = [*(labeled(f"{i}.jpg") for i in range(6)), refused("x"), refused("y", "too-large")]
    summary = {"outcome": "complete", "store": "stores/masks-1", "images_per_s": 1.25, "wall_s": 200.0}
    text = Seen(written(tmp_path / "r.html", rows, summary=summary)).text
    for wanted in (
        "4 March 2026, 05:06 UTC",
        "run complete",
        "stores/masks-1",
        "Images 8 6 labeled",
        "Masks 18 3.00 per image",
        "Refused 2 25.0% of the images",
        "Time per image 1.5 s",
        "Images per second 1.25 last run took 3 min 20 s",
        "damaged 1",
        "too-large 1",
        "18 masks",
        "6 images",
    ):
        assert wanted in text


def test_nothing_comes_from_elsewhere_and_nothing_runs(tmp_path: Path) -> None:
    seen = Seen(written(tmp_path / "r.html", [labeled("a"), refused("b")]))
    assert not seen.all("script")
    for tag, attributes in seen.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    page = (tmp_path / "r.html").read_text()
    assert not re.search(r"url\(|@import|https?://", page)
    policy = next(meta["content"] for meta in seen.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


HOSTILE = [
    "<script>alert(1)</script>.jpg",
    '"><img src=x onerror=alert(1)>.jpg',
    "</style></title><h1>x",
    "{{ 7 * 7 }}",
    "a\u202egpj.exe",
    "line\nend",
    "lone \udc80",
    "x" * 5000,
]


@pytest.mark.parametrize("image_id", HOSTILE)
def test_hostile_ids_are_only_ever_text(tmp_path: Path, image_id: str) -> None:
    plain = Seen(written(tmp_path / "1.html", [labeled("a"), refused("b", "r", "d")], settings={"k": "v"}))
    rows = [labeled(image_id), refused(image_id, image_id, image_id)]
    seen = Seen(written(tmp_path / "2.html", rows, title=image_id, settings={image_id: image_id}))
    assert [tag for tag, _ in seen.elements] == [tag for tag, _ in plain.elements]
    assert seen.text.count(" ".join(visible(image_id).split())) >= 5
    assert "\u202e" not in (tmp_path / "2.html").read_text()


def test_pictures_are_the_image_and_its_masks(tmp_path: Path) -> None:
    seen = Seen(written(tmp_path / "r.html", [labeled("a")]))
    plain, drawn = (
        cv2.imdecode(np.frombuffer(base64.b64decode(image["src"].split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
        for image in seen.all("img")
    )
    assert plain.shape == drawn.shape == (225, 480, 3)
    assert np.abs(plain.astype(int) - 80).max() <= 3
    changed = np.abs(drawn.astype(int) - plain).max(axis=2) > 15
    assert changed[8:50, 12:145].mean() > 0.95
    assert changed[:, 170:].mean() < 0.01


def test_the_last_row_of_pictures_is_filled_up_with_empty_places(tmp_path: Path) -> None:
    seen = Seen(written(tmp_path / "r.html", [labeled("a"), labeled("b")]))
    shapes = [one["style"] for _, one in seen.elements if one.get("class") == "card"]
    assert len(shapes) > 2 + 10
    assert set(shapes) == {"--r: 2.1333"}


def test_the_sample_depends_on_ids_and_seed_only(tmp_path: Path) -> None:
    rows = [labeled(f"{i}.jpg") for i in range(60)]

    def names(out: str, rows: list[LabeledRow], seed: int = 0) -> list[str]:
        seen = Seen(written(tmp_path / out, rows, sample=7, seed=seed))
        return [image["alt"] for image in seen.all("img") if image["alt"]]

    first = names("1", rows)
    assert len(first) == 7
    assert names("2", rows[::-1]) == first
    assert names("3", rows, seed=1) != first


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ImageError("unreadable", "gone"), "cannot be shown: unreadable: gone"),
        (FileNotFoundError(2, "No such file", "a.jpg"), "cannot be shown: [Errno 2] No such file: 'a.jpg'"),
        (None, "the image has changed since it was labeled: masks of size (300, 640) on an image of size (4, 5)"),
    ],
)
def test_an_image_that_is_gone_is_told_in_its_place(tmp_path: Path, error: Exception | None, told: str) -> None:
    def lost(_: ImageRow) -> np.ndarray:
        if error:
            raise error
        return np.zeros((4, 5, 3), dtype=np.uint8)

    seen = Seen(written(tmp_path / "r.html", [labeled("a")], images=lost))
    assert told in seen.text
    assert not seen.all("img")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "Images 0"),
        ([refused("a")], "no image was labeled"),
        ([labeled("a", masks=0)], "Masks 0 0 per image"),
        ([labeled("a", seconds=0)], "None. Every image was labeled."),
    ],
)
def test_little_to_tell_is_told_too(tmp_path: Path, rows: list[LabeledRow], told: str) -> None:
    assert told in Seen(written(tmp_path / "r.html", rows)).text


def test_refused_images_are_listed_up_to_a_bound_and_all_counted(tmp_path: Path) -> None:
    rows = [refused(f"bad-{i}") for i in range(500)]
    text = Seen(written(tmp_path / "r.html", rows)).text
    assert "damaged 500" in text
    assert len(re.findall(r"bad-\d+", text)) == 20
    assert "the first 20 of each reason" in text


def test_rows_are_let_go_of(tmp_path: Path) -> None:
    alive = 0
    most = 0

    class Counting(ImageRow):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def rows() -> Iterator[LabeledRow]:
        nonlocal alive, most
        for index in range(200):
            alive += 1
            most = max(most, alive)
            row = labeled("x")
            yield LabeledRow(
                image=Counting(image_id=f"{index}", uri="u", version="1"), instances=row.instances, seconds=1.0
            )

    write_report(rows(), tmp_path / "r.html", {}, pixels, title="t", settings={}, sample=5)
    assert most <= 10


def test_a_forecast_is_told(tmp_path: Path) -> None:
    forecast = {"images": 9000, "actor_hours": 5.0, "actor_hours_error": 0.25, "gpu_hours": 5.0, "wall_hours": 1.25}
    summary = {"outcome": "sample", "forecast": forecast | {"cost": 12.5, "cost_error": 0.6}}
    text = Seen(written(tmp_path / "r.html", [labeled("a")], summary=summary)).text
    assert "The 9,000 images that were not sampled would take 5.00 ± 0.250 actor-hours, 1 h 15 min" in text
    assert "cost 12.5 ± 0.600" in text


@pytest.mark.parametrize(
    ("summary", "per_hour", "unit", "hours", "cost"),
    [
        ({}, None, "actor", 1.0, 1.0),
        ({}, 2.5, "actor", 1.0, 2.5),
        ({"actor_s_per_image": 3.6, "gpu_s_per_image": 1.8}, 2.5, "GPU", 0.5, 1.25),
        ({"actor_s_per_image": 3.6, "gpu_s_per_image": 0.0}, 2.5, "actor", 1.0, 2.5),
    ],
)
def test_costs(summary: dict[str, float], per_hour: float | None, unit: str, hours: float, cost: float) -> None:
    table = cost_table(50, 180.0, summary, per_hour)
    assert table is not None
    assert (table.unit, table.amounts[:2]) == (unit, (50, 1000))
    assert table.hours[1] == pytest.approx(hours)
    assert table.prices[0][1][1] == pytest.approx(cost)
    assert len(table.prices) == (1 if per_hour else 3)


def test_without_images_or_time_there_is_no_cost() -> None:
    assert cost_table(0, 0.0, {}, 1.0) is None
    assert cost_table(5, 0.0, {}, 1.0) is None


def mapped(image_id: str, unknown_rows: int = 0) -> LabeledRow:
    """The left quarter of the image is a leaf, the rest background, the lowest rows unknown."""
    labels = np.zeros(SIZE_HW, dtype=np.uint8)
    labels[:, : SIZE_HW[1] // 4] = 1
    labels[SIZE_HW[0] - unknown_rows :] = 255
    found = from_map(labels, provenance="cam", scores=np.full(SIZE_HW, 0.5, dtype=np.float32))
    return LabeledRow(image=ImageRow(image_id=image_id, uri=image_id, version="1"), instances=found, seconds=1.0)


CLASSES = ("background", "leaf", "fish")


@pytest.mark.parametrize(
    ("unknown_rows", "told"),
    [
        (0, ["Every pixel has a class.", "Labeled pixels 100%", "background 75.0% 2 2 0.500", "leaf 25.0% 2 2 0.500"]),
        (150, ["50.0% of the pixels have no class", "Labeled pixels 50.0%", "leaf 12.5% 2 2 0.500"]),
    ],
)
def test_label_maps_are_told_by_class_and_pixels(tmp_path: Path, unknown_rows: int, told: list[str]) -> None:
    rows = [mapped("a", unknown_rows), mapped("b", unknown_rows)]
    seen = Seen(written(tmp_path / "r.html", rows, classes=CLASSES, maps=True))
    for wanted in (*told, "fish 0% 0 0 –", "2.00 masks per image", "Colours are classes."):
        assert wanted in seen.text
    assert "Stability" not in seen.text
    assert ("unknown" in seen.text.partition("Distributions")[0]) == bool(unknown_rows)
    assert {image["alt"] for image in seen.all("img") if image["alt"]} == {"2 masks on a", "2 masks on b"}


def test_the_background_of_a_map_is_not_coloured(tmp_path: Path) -> None:
    seen = Seen(written(tmp_path / "r.html", [mapped("a")], classes=CLASSES, maps=True))
    drawn = next(image["src"] for image in seen.all("img") if image["alt"])
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(drawn.split(",")[1]), np.uint8), cv2.IMREAD_COLOR).astype(int)
    changed = np.abs(shown - 80).max(axis=2) > 15
    assert changed[:, :110].all()
    assert not changed[:, 130:].any()


def test_objects_with_classes_are_counted_by_class(tmp_path: Path) -> None:
    row = labeled("a", masks=3)
    found = dataclasses.replace(row.instances, classes=np.array([0, 0, 1], dtype=np.int32))
    text = Seen(
        written(tmp_path / "r.html", [dataclasses.replace(row, instances=found)], classes=("leaf", "fish"))
    ).text
    assert "Masks 3 3.00 per image" in text
    assert "Colours are classes." in text
    assert "leaf 5.94% 1 2 0.900" in text
    assert "fish 2.97% 1 1 0.900" in text


def test_where_there_is_one_class_colours_tell_masks_apart(tmp_path: Path) -> None:
    row = labeled("a", masks=3)
    found = dataclasses.replace(row.instances, classes=np.zeros(3, dtype=np.int32))
    one = dataclasses.replace(row, instances=found)
    plain = Seen(written(tmp_path / "plain.html", [row]))
    seen = Seen(written(tmp_path / "r.html", [one], classes=("leaf",)))
    assert "Colours only tell masks apart." in seen.text
    drawn = [next(image["src"] for image in page.all("img") if image["alt"]) for page in (plain, seen)]
    assert drawn[0] == drawn[1]
