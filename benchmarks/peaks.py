"""`python -m benchmarks.peaks WHAT`: what this machine does at most of one plain thing, to hold a benchmark's figures against.

Measured in the same run as what is held against it, so that a machine that is shared or throttled is judged by what it gives.
Prints one JSON object: `peak`, the best of several times, and its `unit`.

- `copying`: bytes a second that are read and written while large arrays are copied, all cores at once.
- `product`: operations a second of a float32 matrix product of 2,048 a side, two for each multiplication with its addition.
- `decoding FOLDER`: JPEGs a second, decoded to the smallest scale that has 256 pixels and to nothing else, all cores at once.
"""

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import ran

REPEATS, SIDE, PIXELS = 5, 2048, 256
COPIED = 1 << 27
"""Bytes a core copies at once: far more than caches hold."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def of(what: str, *words: object) -> float:
    """The peak as a process of its own measures it now."""
    return float(ran([sys.executable, "-m", "benchmarks.peaks", what, *map(str, words)]).answer()["peak"])


def seconds(action: Callable[[], object]) -> float:
    """The least of several times, after one that does not count."""
    action()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def copying() -> float:
    """Bytes a second, those that are read and those that are written."""
    arrays = [(np.ones(COPIED, np.uint8), np.empty(COPIED, np.uint8)) for _ in range(CORES)]
    with ThreadPoolExecutor(CORES) as pool:
        return 2 * COPIED * CORES / seconds(lambda: list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), arrays)))


def product() -> float:
    """float32 operations a second, by the framework's own matrix product."""
    import torch

    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return 2 * SIDE**3 / seconds(lambda: a @ b)


def decoding(folder: Path, images: int) -> float:
    """JPEGs a second of a folder, some of them again where there are too few."""
    files = sorted(folder.rglob("*.jpg"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no JPEG")
    chosen = list(itertools.islice(itertools.cycle(files), images))
    with ThreadPoolExecutor(CORES) as pool:
        return images / seconds(lambda: list(pool.map(decode, chosen)))


def decode(path: Path) -> None:
    """Read and decode one file, at the smallest scale that has `PIXELS` pixels in its shorter side."""
    with Image.open(path) as picture:
        picture.draft("RGB", (PIXELS, PIXELS))
        picture.load()


UNITS = {"copying": "bytes/s", "product": "operations/s", "decoding": "images/s"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=UNITS)
    parser.add_argument("folder", type=Path, nargs="?", help="of JPEGs, for decoding")
    parser.add_argument("--images", type=int, default=100, help="that are decoded each time")
    options = parser.parse_args()
    if options.what == "decoding" and options.folder is None:
        parser.error("decoding needs a folder of JPEGs")
    measure = {"copying": copying, "product": product, "decoding": lambda: decoding(options.folder, options.images)}
    print(json.dumps({"peak": measure[options.what](), "unit": UNITS[options.what]}))


if __name__ == "__main__":
    main()
