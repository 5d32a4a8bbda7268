"""What people do on the page, and what it answers."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from selenium.webdriver.common.keys import Keys

from segray.demo.world import scene
from segray.masks import rle
from segray.serving.http.keys import NewKey


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    Image.fromarray(np.ascontiguousarray(scene("a", 9_000_001).image[:200])).save(path)
    return path


def found(url: str, picture: Path) -> list[dict[str, Any]]:
    """What the endpoint answers for a picture, whatever the score."""
    answer = httpx.post(f"{url}v1/segment?score_threshold=0", files={"images": picture.read_bytes()}, timeout=60)
    return answer.json()["images"][0]["instances"]


def mask_of(instance: dict[str, Any]) -> Any:
    shape = instance["segmentation"]
    return rle.decode([shape["counts"].encode()], shape["size"])[0]


def test_a_picture_comes_back_with_all_its_masks(page: Any, picture: Path, url: str) -> None:
    page.add(picture)
    page.slide(0)
    expected = found(url, picture)
    assert page.count() == len(expected) > 5
    rows = [row.text.split("\n") for row in page.all("#instances li")]
    assert rows == [[one["class"], f"{round(100 * one['score'])} %"] for one in expected]
    assert page.text("#status").startswith("scene.png")


def test_several_pictures_stand_in_a_row(page: Any, picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jpg"
    Image.fromarray(scene("a", 9_000_002).image).save(other)
    page.add(picture, other)
    first, second = page.all(".thumb")
    assert first.get_attribute("aria-current") == "true"
    second.click()
    assert page.one(".thumb[aria-current]").get_attribute("title") == "other.jpg"
    page.run("arguments[0].click()", page.one("[aria-label='Remove other.jpg']"))
    assert [one.get_attribute("title") for one in page.all(".thumb")] == ["scene.png"]


def test_a_sample_is_one_click_away(page: Any) -> None:
    page.all("#samples button")[1].click()
    page.wait(lambda: page.all(".thumb.ready"))
    assert page.one("#over").get_attribute("aria-label").startswith("scene-2.jpg:")


@pytest.mark.parametrize("width", [390, 1280])
def test_samples_are_of_one_size_and_told_in_words_until_they_have_come(page: Any, width: int) -> None:
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    page.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/scene-5.jpg"]})
    try:
        page.open(width)
        page.wait(lambda: len(page.all("#samples img")) == len(page.all("#samples button")) - 1)
    finally:
        page.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        page.browser.execute_cdp_cmd("Network.disable", {})
    assert len({(one.size["width"], one.size["height"]) for one in page.all("#samples button")}) == 1
    assert page.all("#samples button")[-1].text == "Sample with leaf, fish, bottle, crescent, mushroom"
    page.complaints()  # Of the sample that was held back.


def test_the_slider_leaves_the_better_ones(page: Any, picture: Path, url: str) -> None:
    page.add(picture)
    scores = sorted(one["score"] for one in found(url, picture))
    middle = round(scores[len(scores) // 2], 2)
    page.slide(middle)
    assert page.count() == sum(score >= middle for score in scores)
    page.slide(1)
    assert page.count() == 0
    assert page.text("#none") == "None is left: lower the score, or switch a class on."


def test_a_class_can_be_switched_off(page: Any, picture: Path) -> None:
    page.add(picture)
    page.slide(0)
    before, row = page.count(), next(row for row in page.all("#classes li") if not row.text.endswith("\n0"))
    name, number = row.text.split("\n")
    page.run("arguments[0].click()", page.one(f"#classes input[data-key='{name}']"))
    assert page.count() == before - int(number)
    assert name not in [row.text.split("\n")[0] for row in page.all("#instances li")]
    page.run("arguments[0].click()", page.one(f"#classes input[data-key='{name}']"))
    assert page.count() == before


def test_the_pointer_names_the_mask_under_it(page: Any, picture: Path, url: str) -> None:
    page.add(picture)
    page.slide(0)
    expected = found(url, picture)
    masks = np.array([mask_of(one) for one in expected])
    smallest = min(range(len(expected)), key=lambda index: expected[index]["area"])
    ys, xs = np.nonzero(masks[smallest])
    middle = np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2)
    y, x = ys[middle], xs[middle]
    page.at((x + 0.5) / masks.shape[2], (y + 0.5) / masks.shape[1]).perform()
    said = page.wait(lambda: page.text("#tip"))
    assert said == f"{expected[smallest]['class']} {round(100 * expected[smallest]['score'])} %"
    assert page.one("#instances .marked").text.replace("\n", " ") == said


def test_arrow_keys_walk_the_instances_and_enter_hides_one(page: Any, picture: Path) -> None:
    page.add(picture)
    page.slide(0)
    first = page.one("#instances button[data-key]")
    page.run("arguments[0].focus()", first)
    page.browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
    second = page.all("#instances button[data-key]")[1]
    assert page.browser.switch_to.active_element == second
    assert page.text("#tip") == second.text.replace("\n", " ")
    picture_before = page.run("return document.querySelector('#picture').toDataURL()")
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.all("#instances button[data-key]")[1].get_attribute("aria-pressed") == "false"
    page.wait(lambda: page.run("return document.querySelector('#picture').toDataURL()") != picture_before)


def test_arrow_keys_walk_the_instances_on_the_picture_too(page: Any, picture: Path) -> None:
    page.add(picture)
    page.slide(0)
    page.one("#over").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.all("#instances button[data-key]")[1].get_attribute("aria-pressed") == "false"
    assert page.text("#status").endswith("hidden")


def test_clicks_give_masks_to_choose_from_and_to_keep(page: Any, picture: Path) -> None:
    page.add(picture)
    page.slide(1)
    page.mark()
    page.at(0.5, 0.5).click().perform()
    page.candidates(3)
    page.at(0.1, 0.1).key_down(Keys.SHIFT).click().key_up(Keys.SHIFT).perform()
    page.candidates(1)
    page.one("#undo").click()
    page.candidates(3)
    name = page.run("return (arguments[0].selectedIndex = 1, arguments[0].value)", page.one("#mask-class"))
    page.one("#keep").click()
    assert page.one("#instances li").text.split("\n")[:2] == [name, "yours"]
    assert not page.one("#answer").is_displayed()
    assert page.count() == 1


def test_a_box_is_drawn_by_dragging_and_a_kept_mask_may_have_a_new_class(page: Any, picture: Path) -> None:
    page.add(picture)
    page.slide(1)
    page.mark()
    page.at(0.3, 0.3).click_and_hold().move_by_offset(60, 40).move_by_offset(100, 100).release().perform()
    page.candidates(1)
    page.run("arguments[0].value = '+'; arguments[0].dispatchEvent(new Event('change'))", page.one("#mask-class"))
    page.one("#keep").click()
    assert page.text("#notice span") == "Give the new class a name first."
    page.one("#new-class").send_keys("kite", Keys.ENTER)
    assert page.one("#instances li").text.split("\n")[:2] == ["kite", "yours"]
    assert page.all("#classes li")[-1].text.split("\n") == ["kite", "1"]
    page.one("#instances .remove").click()
    assert page.count() == 0


def test_marking_works_by_keyboard(page: Any, picture: Path) -> None:
    page.add(picture)
    page.mark()
    page.one("#over").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ENTER)
    page.candidates(3)
    page.one("#over").send_keys(Keys.ESCAPE)
    page.candidates(0)


def test_a_click_outside_of_nothing_says_so(page: Any, picture: Path) -> None:
    page.add(picture)
    page.mark()
    page.at(0.5, 0.5).key_down(Keys.SHIFT).click().key_up(Keys.SHIFT).perform()
    assert "inside the object first" in page.text("#notice span")


def test_what_is_shown_is_downloaded_as_coco(page: Any, picture: Path, url: str) -> None:
    page.add(picture)
    expected = found(url, picture)
    bound = round(sorted(one["score"] for one in expected)[-4], 2)
    page.slide(bound)
    page.mark()
    page.at(0.5, 0.5).click().perform()
    page.candidates(3)
    page.one("#keep").click()
    page.one("#download-coco").click()
    file = page.downloaded("masks.json")
    read = COCO(file)
    annotations = read.loadAnns(read.getAnnIds())
    assert read.loadImgs([1])[0] == {"id": 1, "file_name": "scene.png", "width": 256, "height": 200}
    assert annotations[0]["provenance"] == "sam"
    shown = [one for one in expected if one["score"] >= bound]
    kept = [read.cats[one["category_id"]]["name"] for one in annotations[1:]]
    assert kept == [one["class"] for one in shown]
    for annotation, one in zip(annotations[1:], shown, strict=True):
        assert np.array_equal(read.annToMask(annotation), mask_of(one))
        assert annotation["area"] == one["area"]
    assert json.loads(file.read_text())["info"]["model"]["name"]


def test_the_overlay_has_the_pictures_size_and_the_colours_of_its_masks(page: Any, picture: Path, url: str) -> None:
    page.add(picture)
    page.slide(0)
    page.one("#download-png").click()
    drawn = np.asarray(Image.open(page.downloaded("scene-masks.png")).convert("RGB")).astype(int)
    plain = np.asarray(Image.open(picture)).astype(int)
    changed = np.abs(drawn - plain).max(axis=2) > 24
    covered = np.any([mask_of(one) for one in found(url, picture)], axis=0)
    assert drawn.shape == plain.shape
    assert changed[covered].mean() > 0.9


@pytest.mark.slow
def test_a_phones_photograph_is_upright_and_so_are_its_masks(page: Any, tmp_path: Path) -> None:
    upright = Image.fromarray(scene("a", 9_000_003).image).resize((3024, 4032))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", exif=exif)
    page.add(tmp_path / "phone.jpg")
    shape = page.one("#over").size
    assert shape["width"] / shape["height"] == pytest.approx(3 / 4, abs=0.01)
    small = page.run(
        "const c = document.createElement('canvas'); c.width = 24; c.height = 32; const x = c.getContext('2d');"
        "x.imageSmoothingQuality = 'high'; x.drawImage(document.querySelector('#picture'), 0, 0, 24, 32);"
        "return [...x.getImageData(0, 0, 24, 32).data]"
    )
    seen = np.array(small).reshape(32, 24, 4)[..., :3].astype(float)
    meant = np.asarray(upright.resize((24, 32))).astype(float)
    assert np.corrcoef(seen.ravel(), meant.ravel())[0, 1] > 0.8


def test_masks_of_a_picture_that_browsers_cannot_show_stand_alone(page: Any, picture: Path, tmp_path: Path) -> None:
    Image.open(picture).save(tmp_path / "scan.tiff")
    page.add(tmp_path / "scan.tiff")
    assert "cannot show pictures of this kind" in page.text("#notice span")
    page.slide(0)
    assert page.count() > 5
    assert page.one("#over").size["width"] / page.one("#over").size["height"] == pytest.approx(256 / 200, abs=0.01)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"these are words", "This file is no kind of image that is read"), (b"", "This file holds no bytes")],
)
def test_a_file_that_is_no_picture_is_refused_in_words(page: Any, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "words.jpg").write_bytes(content)
    page.add(tmp_path / "words.jpg")
    assert words in page.text("#veil p")
    assert words in page.run("return document.querySelector('#status').textContent")
    page.one("#veil .away").click()
    assert page.one("#welcome").is_displayed()


def test_a_key_is_asked_for_and_kept_for_the_tab_only(guarded_page: Any, picture: Path, key: NewKey) -> None:
    page = guarded_page
    assert page.text("#models") == "An API key is needed."
    page.one("#key-value").send_keys("wrong", Keys.ENTER)
    page.wait(lambda: page.text("#key-problem") == "This key is not known here.")
    page.one(".choose").send_keys(str(picture))
    page.wait(lambda: "Waiting for an API key." in page.text("#veil"))
    page.one("#key-value").send_keys(key.key, Keys.ENTER)
    # Turned away once by a busy server, it comes again by itself.
    page.wait(lambda: page.all(".thumb.ready"))
    assert not page.one("#key").is_displayed()
    assert page.run("return [sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    assert not page.one("#modes").is_displayed()


def test_a_label_map_is_shown_whole_but_for_its_background(label_map_page: Any, picture: Path) -> None:
    page = label_map_page
    page.add(picture)
    expected = {one["class"] for one in found(page.url, picture)}
    shown = expected - {"background"}
    assert len(expected) > len(shown) > 3
    assert {row.text.split("\n")[0] for row in page.all("#instances li")} == shown
    assert page.text("#score-value") == "0 %"
    background = page.one("#classes input[data-key=background]")
    assert not background.is_selected()
    page.run("arguments[0].click()", background)
    assert page.count() == len(expected)


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(page: Any, picture: Path, width: int) -> None:
    page.open(width, 800)
    wide = "return document.documentElement.scrollWidth - innerWidth"
    assert page.run(wide) <= 0
    page.add(picture)
    page.slide(0)
    assert page.run(wide) <= 0
    page.mark()
    page.at(0.5, 0.5).click().perform()
    page.candidates(3)
    assert page.run(wide) <= 0


def test_every_control_has_a_name(page: Any, picture: Path) -> None:
    page.add(picture)
    page.slide(0)
    page.mark()
    page.at(0.5, 0.5).click().perform()
    page.candidates(3)
    nodes = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    controls = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if node.get("role", {}).get("value") in {"button", "slider", "checkbox", "radio", "combobox", "textbox"}
    ]
    assert len(controls) > 20
    assert [role for role, name in controls if not name.strip()] == []
