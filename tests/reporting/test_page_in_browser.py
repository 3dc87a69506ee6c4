"""The page in a real browser, at the width of a phone and of a desk, driven over Chromium's own protocol through two pipes."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sortal.reporting.model import Report
from sortal.reporting.page import render, wanted_thumbnails
from sortal.reporting.study import render as render_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
]  # fmt: skip
SIZES = {"phone": (390, 844), "desk": (1280, 900)}
SECONDS = 60.0

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

# Chromium reads commands from descriptor 3 and writes answers to 4; the two are put there between fork and exec.
START = "import os, sys; i, o = map(int, sys.argv[1:3]); os.dup2(i, 3); os.dup2(o, 4); os.execv(sys.argv[3], sys.argv[3:])"


class Browser:
    """A headless Chromium with one tab; messages are JSON, ended by a zero byte."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.buffer = b""
        self.numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self("Network.enable")
        self("Page.enable")

    def __call__(self, method: str, **values: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": values}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"Chromium said nothing for {SECONDS:.0f} s"
            part = os.read(self.answers, 1 << 20)
            assert part, "Chromium ended"
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path, size: tuple[int, int], *, dark: bool = False) -> None:
        """Show a file at a size, as a phone would where it is narrow, and wait until all of it is there."""
        width, height = size
        phone = width < 600
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events.clear()
        self("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        """What a line of script comes to in the page."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def screenshot(self, path: Path) -> None:
        """All of the page as a PNG, for whoever wants to look at it."""
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    @property
    def requested(self) -> list[str]:
        """Addresses that the page asked for."""
        return [
            event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"
        ]


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Start one with a fresh profile, and end it."""
    assert CHROMIUM
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    # Out of the way of 3 and 4, which they are about to become.
    high = [os.dup(end) if end > 4 else os.dup(os.dup(os.dup(end))) for end in (theirs_in, theirs_out)]
    for end in high:
        os.set_inheritable(end, True)
    process = subprocess.Popen(
        [sys.executable, "-c", START, *map(str, high), CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=high,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (theirs_in, theirs_out, *high):
        os.close(end)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)  # Chromium goes when its commands end
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(answers)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module", params=["two_classes", "ten_classes", "hundred_classes"])
def report(request: pytest.FixtureRequest) -> Report:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def folder(report: Report, tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., bytes]) -> Path:
    """A folder with report.html and report.json."""
    path = tmp_path_factory.mktemp("report")
    thumbnails = {source: picture(120, seed) for seed, source in enumerate(wanted_thumbnails(report))}
    inputs = [(f"mixed {seed}", picture(28, seed, "PNG")) for seed in range(8)]
    (path / "report.html").write_text(render(report, thumbnails=thumbnails, inputs=inputs), encoding="utf-8")
    report.save(path / "report.json")
    return path


@pytest.fixture(scope="module", params=sorted(SIZES))
def opened(request: pytest.FixtureRequest, browser: Browser, folder: Path) -> Browser:
    """The report's page, opened at one of the sizes."""
    browser.open(folder / "report.html", SIZES[request.param])
    return browser


def test_the_page_is_no_wider_than_the_window(opened: Browser) -> None:
    assert opened.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert opened.value("document.documentElement.clientWidth") in (390, 1280, 1265)


def test_nothing_sticks_out_of_the_window_but_what_scrolls_in_its_own_box(opened: Browser) -> None:
    sticking_out = """[...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.box, pre, .hidden') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.tagName + '.' + e.className)"""
    assert opened.value(sticking_out) == []


def test_every_image_loads(opened: Browser) -> None:
    assert opened.value("document.images.length") > 8
    assert opened.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_nothing_is_asked_of_a_network(opened: Browser) -> None:
    assert opened.requested, "the page itself at least is asked for"
    assert {url.partition(":")[0] for url in opened.requested} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in opened.requested) == 1


def test_the_headline_says_the_numbers_of_report_json(opened: Browser, folder: Path) -> None:
    numbers = json.loads((folder / "report.json").read_text())["headline"]
    shown = opened.value("['accuracy', 'low', 'high'].map(id => Number(document.getElementById(id).value))")
    assert shown == [numbers["accuracy"], *numbers["accuracy_interval"]]
    text = opened.value("document.querySelector('h1').innerText.replace(/\\s+/g, ' ').trim()")
    assert text == numbers["answer"]
    assert opened.value("document.querySelector('.basis').innerText") == numbers["basis"]


def test_chart_labels_are_eleven_pixels_high_or_more(opened: Browser) -> None:
    smallest = "Math.min(...[...document.querySelectorAll('.chart')].map(c => 13 * c.getBoundingClientRect().width / 360))"
    assert opened.value(smallest) >= 11


def test_text_stands_out_from_its_ground_in_light_and_dark(browser: Browser, two_classes: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(two_classes), encoding="utf-8")
    colours = "['color', 'backgroundColor'].map(key => getComputedStyle(document.body)[key].match(/\\d+/g).map(Number))"
    for dark in (False, True):
        browser.open(path, SIZES["desk"], dark=dark)
        ink, paper = browser.value(colours)
        assert contrast(ink, paper) > 7
        assert (sum(paper) < sum(ink)) is dark


@pytest.mark.parametrize("size", sorted(SIZES))
def test_the_page_of_a_study_fits_the_window(
    browser: Browser, size: str, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    from tests.reporting.test_study_page import invented

    path = tmp_path / "study.html"
    mixed = [("83% a class of a rather long name, 17% another", picture(96, seed)) for seed in range(4)]
    path.write_text(render_study(invented(12), thumbnails={"<i>.png": picture(96, 0)}, mixed=mixed), encoding="utf-8")
    browser.open(path, SIZES[size])
    test_the_page_is_no_wider_than_the_window(browser)
    test_nothing_sticks_out_of_the_window_but_what_scrolls_in_its_own_box(browser)
    test_nothing_is_asked_of_a_network(browser)
    test_chart_labels_are_eleven_pixels_high_or_more(browser)
    assert browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def contrast(one: list[int], other: list[int]) -> float:
    """The ratio of WCAG 2, 1..21."""

    def luminance(colour: list[int]) -> float:
        linear = [(c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in colour[:3]]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)
