"""Folders of photographs for the benchmarks: unpacked from an archive, or drawn by ourselves where none is at hand."""

import io
import shutil
import zipfile
from collections.abc import Iterator
from itertools import islice
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


def gathered(data: Path | None, into: Path, count: int, *, again: bool = False) -> Path:
    """A folder of `count` photographs, `into/CLASS/NUMBER.jpg`, from all splits of `data`, or drawn where there is none.

    With `again` photographs come several times where there are too few; else there are fewer.
    """
    if data is None:
        return draw(into, each=count // 2)
    root = unpacked(data, into.with_name(f"{into.name}-unpacked"))
    files = sorted((path for path in root.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")), key=_spread)
    for number, path in enumerate(islice(_repeated(files) if again else iter(files), count)):
        folder = into / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / f"{number:05}.jpg")
    return into


def _spread(path: Path) -> tuple[str, str]:
    """An order in which the classes and splits alternate: by the last digits of the name."""
    return path.stem[::-1], str(path)


def _repeated(files: list[Path]) -> Iterator[Path]:
    while True:
        yield from files


LARGE = (4000, 3000)
DISTINCT = 24
"""Different pictures among the large ones; each file has a comment of its own, so that no two are equal."""
QUALITY = 90


def large(data: Path | None, into: Path, count: int) -> Path:
    """`count` JPEGs of 12 megapixels in two folders: photographs enlarged, with a sensor's noise on them, as a phone's are.

    Noise of four grey levels and quality 90 make files of about 2.5 MB; telephones write 2 to 4.
    """
    sources = sorted(gathered(data, into.with_name(f"{into.name}-small"), DISTINCT).rglob("*.jpg"))
    random = np.random.default_rng(0)
    written: list[tuple[str, bytes]] = []
    for path in sources:
        picture = Image.open(path).convert("RGB").resize(LARGE, Image.Resampling.BICUBIC)
        grain = 4 * random.standard_normal((LARGE[1], LARGE[0], 1), dtype=np.float32)
        buffer = io.BytesIO()
        Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
        written.append((path.parent.name, buffer.getvalue()))
    for number in range(count):
        label, picture_bytes = written[number % len(written)]
        folder = into / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}.jpg").write_bytes(commented(picture_bytes, f"number {number}"))
    return into


def commented(jpeg: bytes, comment: str) -> bytes:
    """A JPEG with a comment segment after its start marker (ITU-T T.81, B.2.4.5): the same picture, another file."""
    text = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]
