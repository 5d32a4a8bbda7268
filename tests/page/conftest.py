"""The real page in a real Chromium, over a real server with the models that ship. Skipped without a Chromium."""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

import segray
from segray.config.sam import OriginalSamConfig
from segray.config.serve import ClickServing, KeyFile, NoKeys, RequestLimits, ServeConfig, StudentServing
from segray.config.students import Fpn
from segray.masks.instances import Instances
from segray.models.build import build_student
from segray.models.package import save_student
from segray.serving.backend import BusyError, ModelInfo
from segray.serving.http import keys
from segray.serving.http.application import create_app
from segray.serving.local import LocalBackend, http_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
STUDENT = Path(segray.__file__).parent / "assets" / "weights" / "mask2former-nano"
PATIENCE_S = 60


class Page:
    """The page as a person uses it."""

    def __init__(self, browser: webdriver.Chrome, url: str, downloads: Path) -> None:
        self.browser, self.url, self.downloads = browser, url, downloads

    def open(self, width: int = 1280, height: int = 800) -> None:
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        self.browser.get(self.url)
        self.wait(lambda: self.all("#samples img") and "…" not in self.text("#models"))

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, PATIENCE_S, 0.05).until(lambda _: condition())

    def add(self, *files: Path) -> None:
        """Choose files, and wait until each has its answer."""
        before = len(self.all(".thumb"))
        field = "#welcome .choose" if before == 0 else ".strip .choose"
        self.one(field).send_keys("\n".join(str(file) for file in files))
        self.wait(lambda: len(self.all(".thumb.ready, .thumb.failed")) == before + len(files))

    def slide(self, score: float) -> None:
        self.run("const s = arguments[0]; s.value = arguments[1]; s.dispatchEvent(new Event('input'))",
                 self.one("#score"), score)  # fmt: skip

    def count(self) -> int:
        assert len(self.all("#instances li")) == int(self.text("#count"))
        return int(self.text("#count"))

    def at(self, x: float, y: float) -> ActionChains:
        """The pointer moved to a place of the picture, by shares of its width and height."""
        over = self.one("#over")
        dx, dy = (x - 0.5) * over.size["width"], (y - 0.5) * over.size["height"]
        return ActionChains(self.browser, duration=0).move_to_element_with_offset(over, round(dx), round(dy))

    def mark(self) -> None:
        """Go over to marking."""
        self.run("arguments[0].click()", self.one("input[name=mode][value=mark]"))

    def candidates(self, number: int) -> None:
        """Wait until so many masks are offered."""
        self.wait(lambda: not self.one("#marking").get_attribute("aria-busy"))
        self.wait(lambda: len(self.all("#candidates input")) == number)

    def downloaded(self, pattern: str) -> Path:
        return self.wait(lambda: next(iter(self.downloads.glob(pattern)), None))

    def complaints(self) -> list[str]:
        """What the console says of failures, save that the server refused something, which is no fault of the page."""
        logged = self.browser.get_log("browser")
        return [one["message"] for one in logged if "the server responded with a status of 4" not in one["message"]]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("no chromium and chromedriver on this machine (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path_factory.mktemp("unused"))})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        switches = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", f"user-data-dir={profile}")
        for switch in switches:
            options.add_argument(f"--{switch}")
        chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        yield chrome
        chrome.quit()


@pytest.fixture(scope="session")
def config() -> ServeConfig:
    return ServeConfig(
        job="serve",
        keys=NoKeys(kind="off"),
        student=StudentServing(uri=str(STUDENT), device="cpu"),
        clicks=ClickServing(sam=OriginalSamConfig(device="cpu")),
        limits=RequestLimits(timeout_s=120),
    )


class BusyAtFirst(LocalBackend):
    """Turns the first image away."""

    turned_away = False

    async def segment(self, images: Sequence[Any]) -> tuple[list[Instances], ModelInfo]:
        if not self.turned_away:
            self.turned_away = True
            raise BusyError(0.1)
        return await super().segment(images)


@pytest.fixture(scope="session")
def url(config: ServeConfig) -> Iterator[str]:
    backend = LocalBackend(config)
    backend.load()
    with http_server(create_app(backend, config)) as where:
        yield f"{where}/"


@pytest.fixture(scope="session")
def label_map_url(config: ServeConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its student knows the class of every pixel, and is sure of none."""
    folder = str(tmp_path_factory.mktemp("student"))
    classes = ("background", *map("class {}".format, range(11)))
    save_student(build_student(Fpn(width=16), classes, seed=1), folder, info={})
    semantic = dataclasses.replace(config, student=StudentServing(uri=folder, device="cpu"), clicks=None)
    backend = LocalBackend(semantic)
    backend.load()
    with http_server(create_app(backend, semantic)) as where:
        yield f"{where}/"


@pytest.fixture(scope="session")
def key() -> keys.NewKey:
    return keys.make("tests")


@pytest.fixture(scope="session")
def guarded_url(config: ServeConfig, key: keys.NewKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Needs a key, has no SAM, and is busy at first."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(key.line)
    guarded = dataclasses.replace(config, keys=KeyFile(kind="file", path=str(file)), clicks=None)
    backend = BusyAtFirst(guarded)
    backend.load()
    with http_server(create_app(backend, guarded)) as where:
        yield f"{where}/"


@contextmanager
def blameless(browser: webdriver.Chrome, url: str, downloads: Path) -> Iterator[Page]:
    """A page of which, whatever was done to it, the console has nothing to say, and which asked nobody else."""
    behaviour = {"behavior": "allow", "downloadPath": str(downloads)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    page = Page(browser, url, downloads)
    yield page
    asked = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [one for one in asked if not one.startswith(url)] == []
    assert page.complaints() == []
    page.run("sessionStorage.clear()")


@pytest.fixture
def page(browser: webdriver.Chrome, url: str, tmp_path: Path) -> Iterator[Page]:
    with blameless(browser, url, tmp_path) as page:
        page.open()
        yield page


@pytest.fixture
def guarded_page(browser: webdriver.Chrome, guarded_url: str, tmp_path: Path) -> Iterator[Page]:
    with blameless(browser, guarded_url, tmp_path) as page:
        page.open()
        yield page


@pytest.fixture
def label_map_page(browser: webdriver.Chrome, label_map_url: str, tmp_path: Path) -> Iterator[Page]:
    with blameless(browser, label_map_url, tmp_path) as page:
        page.open()
        yield page
