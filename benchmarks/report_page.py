"""The report's page of 10,000 test images in Chromium: its size, and the time until it is there, drawn and can be used.

Two reports are invented, of 10 and of 100 classes, with all that a report can hold: diagnosis, findings, slices, coverage,
learning curve, robustness, maps and neighbours of mistakes. Their pictures are noise with the spectrum of photographs (power
falling with the square of the frequency: Field 1987), drawn at 224 pixels and encoded as `sortal report` encodes pictures,
since smooth ones would be too small a file. The page is opened from disk, each time anew, as wide as a desk and as a phone.
"""

import argparse
import base64
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Claim, Result, spread
from sortal.reporting.model import Report
from sortal.reporting.page import render
from sortal.reporting.pictures import wanted_small, wanted_thumbnails
from sortal.workflows.reporting import picture, small_picture
from tests.chromium import CHROMIUM, SIZES, Browser, chromium
from tests.reporting.conftest import invented_report, with_everything

IMAGES = 10_000
CLASSES = {"report-page/10-classes": (10, 3.5), "report-page/100-classes": (100, 4.5)}
"""Of each result: how many classes, and how far the true class's logit stands above the others."""
SECONDS, MEGABYTES = 2.0, 10.0
SIDE = 224
DRAWN = 200
"""Different pictures; they are used again and again."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=5, help="openings at each width")


def run(options: argparse.Namespace) -> list[Result]:
    if CHROMIUM is None:
        raise FileNotFoundError("needs Chromium: apt-get install chromium")
    large, small = _pictures()
    with tempfile.TemporaryDirectory(prefix="report-page-") as name:
        return [
            _measured(title, classes, skill, Path(name), large, small, options.repeats)
            for title, (classes, skill) in CLASSES.items()
        ]


def _measured(
    title: str, classes: int, skill: float, work: Path, large: list[bytes], small: list[bytes], repeats: int
) -> Result:
    report = _report(classes, skill, large)
    cards = {source: large[number % DRAWN] for number, source in enumerate(wanted_thumbnails(report))}
    others = {source: small[number % DRAWN] for number, source in enumerate(wanted_small(report))}
    began = time.perf_counter()
    page = render(report, thumbnails=cards, small=others)
    rendered = time.perf_counter() - began
    path = work / f"{classes}.html"
    path.write_text(page, encoding="utf-8")
    report.save(work / f"{classes}.json")
    with chromium(work / f"profile-{classes}") as browser:
        opened = {size: [_open(browser, path, size) for _ in range(repeats)] for size in SIZES}
        browser.open(path, SIZES["desk"])
        pictures = browser.value("document.images.length + known.pictures.length")
        broken = browser.value("[...document.images].filter(image => image.complete && !image.naturalWidth).length")
        browser.value("document.querySelector('#confusion .open').click()")
        behind = browser.value("document.querySelectorAll('#cell li').length")
    ready = {size: [each["ready"] for each in times] for size, times in opened.items()}
    megabytes = len(page.encode()) / 1e6
    slowest = max(max(times) for times in ready.values())
    return Result(
        name=title,
        unit="s until the page is there, drawn and can be used (the slowest opening)",
        ours=slowest,
        numbers={
            "megabytes": round(megabytes, 2),
            "report_json_megabytes": round((work / f"{classes}.json").stat().st_size / 1e6, 2),
            "rendered_in_seconds": round(rendered, 3),
            "examples": sum(len(row["images"]) for row in report.examples),
            **{f"ready_{size}": spread(times) for size, times in ready.items()},
            **{f"first_paint_{size}": spread([each["paint"] for each in times]) for size, times in opened.items()},
            "pictures": pictures,
            "behind_a_cell": behind,
        },
        claims=[
            Claim(f"every opening of a page of {IMAGES:,} test images takes less than {SECONDS:.0f} s", slowest < SECONDS),
            Claim(f"the page is smaller than {MEGABYTES:.0f} MB", megabytes < MEGABYTES),
            Claim("every picture can be shown", broken == 0 and behind > 0),
        ],
        notes=["from the address being given to the first frame after the load event, by the clock of whoever gives it"],
    )


def _open(browser: Browser, path: Path, size: str) -> Mapping[str, float]:
    """Seconds until the frame after loading, and until anything was drawn (from the start of the navigation)."""
    browser("Page.navigate", url="about:blank")
    began = time.perf_counter()
    browser.open(path, SIZES[size])
    browser.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    ready = time.perf_counter() - began
    paint = browser.value("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    return {"ready": ready, "paint": float(paint)}


def _report(classes: int, skill: float, large: list[bytes]) -> Report:
    names = [f"class {number:03d}" for number in range(classes)]
    report = with_everything(invented_report(names, {"val": 1000, "test": IMAGES}, skill=skill, epochs=30))
    addresses = [f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" for data in large]
    maps: dict[str, Any] = {
        source: {**known, "map": addresses[number % DRAWN], "nearest": [
            {**near, "source": f"train/{number}-{near['source']}"} for near in known["nearest"]
        ]}
        for number, (source, known) in enumerate(report.maps.items())
    }  # fmt: skip
    return replace(report, maps=maps)


def _pictures() -> tuple[list[bytes], list[bytes]]:
    """Large and small pictures as files."""
    drawn = [_natural(np.random.default_rng(number)) for number in range(DRAWN)]
    return [picture(pixels) for pixels in drawn], [small_picture(pixels) for pixels in drawn]


def _natural(random: np.random.Generator) -> NDArray[np.uint8]:
    """Noise whose power falls with the square of the frequency, as in photographs; three channels that mostly agree."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij"))
    frequency[0, 0] = 1.0

    def plane() -> NDArray[np.float64]:
        spectrum = np.fft.rfft2(random.normal(size=(SIDE, SIDE))) / frequency
        values = np.fft.irfft2(spectrum, s=(SIDE, SIDE))
        return np.asarray((values - values.mean()) / values.std())

    shared = plane()
    channels = [128 + 48 * shared + 16 * plane() + random.uniform(-30, 30) for _ in range(3)]
    return np.stack(channels, axis=2).clip(0, 255).astype(np.uint8)
