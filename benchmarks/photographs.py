"""Folders of photographs for the benchmarks: unpacked from an archive, or drawn by ourselves where none is at hand."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def unpacked(data: Path, into: Path) -> Path:
    """The folder with `train/` and `val/` inside `data`, a folder or a zip; a zip is unpacked under `into`."""
    if data.is_file():
        shutil.unpack_archive(data, into) if not zipfile.is_zipfile(data) else zipfile.ZipFile(data).extractall(into)
        data = into
    for folder in [data, *sorted(data.rglob("*"))]:
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            return folder
    raise FileNotFoundError(f"{data} holds no folder with train/ and val/ inside")


def warm(folder: Path) -> int:
    """Read every file once and return their bytes, so that no side pays for a disk that the other found warm."""
    return sum(len(path.read_bytes()) for path in folder.rglob("*") if path.is_file())


def draw(
    folder: Path, *, classes: tuple[str, ...] = ("stripes", "spots"), each: int = 24, side: int = 320, seed: int = 0
) -> Path:
    """Write `each` JPEGs a class to `folder/CLASS/`: bars or discs of random colours on noise; a small learnable task."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side]
    for index, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            period = random.integers(side // 12, side // 5)
            if index % 2:
                mask = np.hypot(rows % (2 * period) - period, columns % (2 * period) - period) < period * 0.6
            else:
                mask = (rows + random.integers(period)) % period < period // 2
            colours = random.integers(0, 256, (2, 3))
            picture = np.where(mask[..., None], colours[0], colours[1]) + random.normal(0, 20, (side, side, 3))
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number:03}.jpg", quality=88)
    return folder
