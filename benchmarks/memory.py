"""Peak memory of `sortal check` and `sortal train` on few and on many 12-megapixel photographs, the stores held to 100 MB.

The photographs are drawn here, each with shapes and noise of its own. Every command is a process of its own with an empty
cache. What is printed is the largest resident memory of the process, as the system counted it (`wait4`); the process that
waits stays small, because a child's count begins with its parent's. Peak memory may grow with the manifest, by some hundred
bytes an image, and by nothing else.
"""

import argparse
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from benchmarks.harness import Claim, Ran, Result, ran, say, sortal

SIDES = (4000, 3000)
CLASSES = ("warm", "cold")
LIMIT = 100_000_000
GROWTH = 1.10
"""What the peak on the most photographs may be, as a multiple of that on the fewest: the spread of repeated runs."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, nargs="+", default=[300, 1200], help="numbers of photographs, the fewest first")
    parser.add_argument("--limit", type=int, default=LIMIT, help="bytes that the stores may take")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="more settings for `train`, KEY=VALUE")


def run(options: argparse.Namespace) -> list[Result]:
    counts = sorted(options.images)
    settings = [f"store.limit={options.limit}", *options.settings]
    checks: dict[int, Ran] = {}
    trainings: dict[int, Ran] = {}
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        work = Path(name)
        say(f"drawing {counts[-1]} photographs of {SIDES[0]} x {SIDES[1]}")
        drawn = draw(work / "photographs", counts[-1])
        for count in counts:
            folder = first(drawn, count, work / f"photographs-{count}")
            cache = {"SORTAL_CACHE": str(work / f"cache-{count}")}
            # Exit code 1 only says that something severe was found in what we drew.
            checks[count] = ran(sortal("check", folder, "--json"), environment=cache, codes=(0, 1))
            words = [word for setting in settings for word in ("--set", setting)]
            command = sortal("train", folder, "--out", work / f"run-{count}", "--json", *words)
            trainings[count] = ran(command, environment=cache)
    return [_result("memory/check", checks), _result("memory/train", trainings, trainings[counts[-1]].answer())]


def draw(folder: Path, count: int) -> Path:
    """Write `count` photographs to `folder/CLASS/`, half of them in each class."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(_draw_one, [folder] * count, range(count), chunksize=8):
            pass
    return folder


def first(drawn: Path, count: int, folder: Path) -> Path:
    """A folder with the first `count` of the photographs, as links to the same files."""
    for number in range(count):
        name = _name(number)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(drawn / name, folder / name)
    return folder


def _name(number: int) -> str:
    return f"{CLASSES[number % 2]}/{number:05}.jpg"


def _draw_one(folder: Path, number: int) -> None:
    """Large soft shapes in the colours of the class, with the grain of a sensor."""
    random = np.random.default_rng(number)
    coarse = random.integers(0, 160, (9, 12, 3)).astype(np.uint8)
    coarse[..., 0 if number % 2 == 0 else 2] += 80
    grain = random.integers(0, 24, (256, 256, 3)).astype(np.uint8)
    tiled = Image.fromarray(np.tile(grain, (SIDES[1] // 256 + 1, SIDES[0] // 256 + 1, 1))[: SIDES[1], : SIDES[0]])
    photograph = ImageChops.add(Image.fromarray(coarse).resize(SIDES, Image.Resampling.BICUBIC), tiled)
    photograph.save(folder / _name(number), "JPEG", quality=85)


def _result(name: str, runs: dict[int, Ran], answer: dict[str, Any] | None = None) -> Result:
    peaks = {count: run.peak_bytes / 1e6 for count, run in runs.items()}
    fewest, most = min(peaks), max(peaks)
    numbers: dict[str, Any] = {f"{count} photographs, megabytes": round(peak) for count, peak in peaks.items()}
    if answer is not None:
        numbers["decoded"] = answer["work"]["decoded"]
    return Result(
        name=name,
        unit="megabytes",
        ours=peaks[most],
        numbers=numbers,
        runs=[run.facts() for run in runs.values()],
        claims=[
            Claim(
                f"the peak with {most:,} photographs is at most {GROWTH:g} times that with {fewest:,}",
                peaks[most] <= GROWTH * peaks[fewest],
            )
        ],
        notes=[f"{SIDES[0] * SIDES[1] / 1e6:g} megapixels each; {sum(run.seconds for run in runs.values()):.0f} s in all"],
    )
