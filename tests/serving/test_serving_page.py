"""The server's page in a real browser, at the width of a phone and of a desk: an image in, the answer out."""

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.chromium import CHROMIUM, SIZES, Browser, chromium
from tests.serving.served import Served, colour_bundle, picture, served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
SECONDS = 20.0


class Page:
    """The page, opened at a size."""

    def __init__(self, browser: Browser, address: str, size: str) -> None:
        self.browser, self.address = browser, address
        width, height = SIZES[size]
        browser("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        browser("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        browser("Log.enable")
        browser.events.clear()
        browser("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && document.getElementById('model').options.length > 0")

    def wait(self, condition: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not self.browser.value(f"Boolean({condition})"):
            assert time.monotonic() < deadline, (condition, self.browser.value("document.body.innerText"))
            time.sleep(0.05)

    def text(self, id_: str) -> str:
        return str(self.browser.value(f"document.getElementById('{id_}').innerText"))

    def visible(self, id_: str) -> bool:
        return bool(self.browser.value(f"document.getElementById('{id_}').offsetParent !== null"))

    def drop(self, path: Path) -> None:
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.browser("Input.dispatchDragEvent", type=kind, x=180, y=200, data=data)

    def choose(self, path: Path, id_: str = "file") -> None:
        root = self.browser("DOM.getDocument")["root"]["nodeId"]
        node = self.browser("DOM.querySelector", nodeId=root, selector=f"#{id_}")["nodeId"]
        self.browser("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def paste(self, image: bytes) -> None:
        encoded = json.dumps(base64.b64encode(image).decode())
        self.browser.value(
            f"""(() => {{
                const bytes = Uint8Array.from(atob({encoded}), c => c.charCodeAt(0)), data = new DataTransfer();
                data.items.add(new File([bytes], "pasted.png", {{ type: "image/png" }}));
                dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: data }}));
            }})()"""
        )

    def complaints(self) -> list[Any]:
        """What the browser itself wrote into its console, such as a policy that was violated."""
        entries = [event["params"]["entry"] for event in self.browser.events if event.get("method") == "Log.entryAdded"]
        return [entry["text"] for entry in entries if entry["source"] != "network"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(params=sorted(SIZES))
def page(request: pytest.FixtureRequest, browser: Browser, server: Served) -> Page:
    return Page(browser, server.address, request.param)


@pytest.fixture
def spotted(tmp_path: Path) -> Path:
    """A photograph with a red corner."""
    pixels = np.random.default_rng(0).integers(20, 80, (300, 400, 3), np.uint8)
    pixels[50:150, 60:180] = (230, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "spot.jpg")
    return tmp_path / "spot.jpg"


def looked_at(page: Page, name: str) -> None:
    """Keep a picture of the page for whoever set SORTAL_SCREENSHOTS to a folder."""
    if folder := os.environ.get("SORTAL_SCREENSHOTS"):
        width = page.browser.value("innerWidth")
        page.browser.screenshot(Path(folder) / f"{name}-{width}.png")


def test_a_file_that_is_dropped_gets_its_label_confidence_and_map(page: Page, spotted: Path) -> None:
    looked_at(page, "empty")
    page.drop(spotted)
    page.wait("!document.getElementById('answer').hidden && !document.getElementById('look').hidden")
    assert page.text("label") == "red"
    assert "% sure" in page.text("sure")
    assert page.browser.value("document.querySelectorAll('#ranked li').length") == 3
    assert page.visible("map")
    image, canvas = (
        page.browser.value(
            f"(r => [r.left, r.top, r.width, r.height])(document.getElementById('{id_}').getBoundingClientRect())"
        )
        for id_ in ("image", "map")
    )
    # The network sees the centred square of 300 x 300 of 400 x 300 pixels.
    assert canvas[2] == pytest.approx(0.75 * image[2], abs=1.5)
    assert canvas[0] == pytest.approx(image[0] + image[2] / 8, abs=1.5)
    assert canvas[3] == pytest.approx(image[3], abs=1.5)
    looked_at(page, "answer")
    page.browser.value("document.getElementById('overlay').click()")
    assert not page.visible("map")
    assert page.complaints() == []


def test_nothing_sticks_out_of_the_window(page: Page, spotted: Path) -> None:
    page.choose(spotted)
    page.wait("!document.getElementById('answer').hidden")
    assert page.browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_file_that_is_chosen_or_pasted_or_photographed_is_answered(page: Page, tmp_path: Path) -> None:
    (tmp_path / "blue.png").write_bytes(picture("blue"))
    page.choose(tmp_path / "blue.png")
    page.wait("document.getElementById('label').innerText === 'blue'")
    page.paste(picture("green"))
    page.wait("document.getElementById('label').innerText === 'green'")
    page.choose(tmp_path / "blue.png", "photo")
    page.wait("document.getElementById('label').innerText === 'blue'")
    assert page.browser.value("document.getElementById('photo').getAttribute('capture')") == "environment"


def test_a_file_that_is_no_image_is_told_as_such(page: Page, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    page.choose(tmp_path / "bad.png")
    page.wait("!document.getElementById('problem').hidden")
    assert "not an image" in page.text("problem")
    assert not page.visible("answer")
    looked_at(page, "problem")


def test_a_model_that_abstains_says_that_it_is_not_sure(page: Page, tmp_path: Path) -> None:
    (tmp_path / "brown.png").write_bytes(picture("#806040"))
    page.browser.value("document.getElementById('model').value = 'careful'")
    page.choose(tmp_path / "brown.png")
    page.wait("document.getElementById('label').innerText === 'Not sure'")
    assert "abstains" in page.text("sure")
    looked_at(page, "abstains")


def test_names_from_a_bundle_are_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='hacked'\">"
    path = colour_bundle(tmp_path / "b", classes=[evil, "green", "blue"]).path
    with served(path, "--runtime", "onnxruntime") as running:
        page = Page(browser, running.address, "desk")
        (tmp_path / "red.png").write_bytes(picture())
        page.choose(tmp_path / "red.png")
        page.wait("!document.getElementById('answer').hidden")
        assert page.text("label") == evil
        assert page.browser.value("document.images.length") == 1
        assert page.browser.value("document.title") == "What is it? · sortal"


def test_a_server_with_a_token_asks_for_it(browser: Browser, colours: Path, tmp_path: Path) -> None:
    token = "a-token-of-24-characters"
    with served(colours, "--runtime", "onnxruntime", environment={"SORTAL_TOKEN": token}) as running:
        browser("Page.navigate", url=running.address)
        page = Page.__new__(Page)
        page.browser = browser
        page.wait("document.readyState === 'complete' && !document.getElementById('secret').hidden")
        browser.value(
            f"(e => {{ e.value = '{token}'; e.dispatchEvent(new Event('change')); }})(document.getElementById('token'))"
        )
        page.wait("document.getElementById('model').options.length > 0")
        (tmp_path / "red.png").write_bytes(picture())
        page.choose(tmp_path / "red.png")
        page.wait("document.getElementById('label').innerText === 'red'")
