"""Planting faults into a folder of images: near copies across splits, wrong labels, broken files, a border on one class.

All draws come from one seed, and everything planted is told, so that what `check` finds can be counted against it. The images
of the folder itself are never changed; what is planted is new files, moved names and, for the border, rewritten copies.
"""

import io
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

EASY = ("resized", "re-encoded", "brightened")
HARD = ("cropped", "mirrored")
KINDS = (*EASY, *HARD)
CROPS = (0.85, 0.95)
"""Share of each side that a crop keeps: a little is cut off, at a place drawn at random."""


@dataclass
class Planted:
    """What was planted where; paths are relative to the folder, as `check` names them."""

    copies: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The copy, what it is a copy of, and how it was made."""
    wrong: dict[str, str] = field(default_factory=dict)
    """The image under its wrong class, and its right class."""
    broken: list[str] = field(default_factory=list)
    bordered: list[str] = field(default_factory=list)


def images_of(folder: Path) -> list[str]:
    """All files below a folder, sorted, relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def plant_faults(folder: Path, *, copies: int, wrong: float, broken: int, seed: int) -> Planted:
    """Plant into `folder/SPLIT/CLASS/` `copies` near copies of each kind, a share of wrong labels and some broken files."""
    draw = random.Random(f"faults {seed}")
    names = images_of(folder)
    draw.shuffle(names)
    splits = sorted({name.split("/")[0] for name in names})
    classes = sorted({name.split("/")[1] for name in names})
    planted = Planted()
    # Each image carries one fault at most, so that what is found can be told apart.
    fresh = iter([name for name in names if _readable(folder / name)])
    for kind in KINDS:
        for number in range(copies):
            source = next(fresh)
            split, label, _ = source.split("/")
            other = draw.choice([each for each in splits if each != split])
            copy = f"{other}/{label}/{draw.randrange(10**8):08d}-{KINDS.index(kind)}{number}.jpg"
            (folder / copy).write_bytes(altered(folder / source, kind, draw))
            planted.copies[copy] = (source, kind)
    for _ in range(round(wrong * len(names))):
        source = next(fresh)
        split, label, file = source.split("/")
        moved = f"{split}/{draw.choice([each for each in classes if each != label])}/{label}-{file}"
        shutil.move(folder / source, folder / moved)
        planted.wrong[moved] = label
    for number in range(broken):
        source = next(fresh)
        split, label, _ = source.split("/")
        path = f"{split}/{label}/{draw.randrange(10**8):08d}-b{number}.jpg"
        data = (folder / source).read_bytes()
        (folder / path).write_bytes(BREAKS[number % len(BREAKS)](data))
        planted.broken.append(path)
    return planted


def plant_border(folder: Path, *, share: float, seed: int) -> Planted:
    """Give a share of one class's images, drawn at random, a frame of one colour, a sixteenth of the shorter side wide."""
    draw = random.Random(f"border {seed}")
    names = images_of(folder)
    label = draw.choice(sorted({name.split("/")[1] for name in names}))
    colour = tuple(draw.randrange(256) for _ in range(3))
    planted = Planted()
    for name in names:
        if name.split("/")[1] == label and draw.random() < share and _readable(folder / name):
            image = _opened(folder / name)
            width = max(1, min(image.size) // 16)
            framed = ImageOps.expand(ImageOps.crop(image, width), width, fill=colour)
            _replace(folder / name, encoded(framed, 95))
            planted.bordered.append(name)
    return planted


def altered(path: Path, kind: str, draw: random.Random) -> bytes:
    """The bytes of a near copy; 'resized' by 0.6 to 0.9, 're-encoded' at quality 50 to 80, 'brightened' by a fifth to two
    fifths up or down, 'cropped' to 85 to 95% of each side, 'mirrored'. All but the re-encoded are saved at quality 90.
    """
    image = _opened(path)
    return encoded(CHANGES[kind](image, draw), draw.randint(50, 80) if kind == "re-encoded" else 90)


def _resized(image: Image.Image, draw: random.Random) -> Image.Image:
    share = draw.uniform(0.6, 0.9)
    return image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))), Image.Resampling.BICUBIC)


def _brightened(image: Image.Image, draw: random.Random) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(draw.choice([draw.uniform(0.6, 0.8), draw.uniform(1.2, 1.4)]))


def _cropped(image: Image.Image, draw: random.Random) -> Image.Image:
    share = draw.uniform(*CROPS)
    width, height = round(image.width * share), round(image.height * share)
    left, top = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


CHANGES: Mapping[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "resized": _resized,
    "re-encoded": lambda image, draw: image,
    "brightened": _brightened,
    "cropped": _cropped,
    "mirrored": lambda image, draw: ImageOps.mirror(image),
}

BREAKS: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: data[: len(data) // 2],
    lambda data: b"",
    lambda data: b"<!DOCTYPE html><title>404 Not Found</title>",
    lambda data: data[:2] + bytes(len(data) - 2),
    lambda data: data[: max(1, len(data) * 9 // 10)],
)


def encoded(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _readable(path: Path) -> bool:
    try:
        _opened(path)
    except OSError:
        return False
    return True


def _replace(path: Path, data: bytes) -> None:
    """Not written into: the file may be a hard link to an image that others use."""
    path.unlink()
    path.write_bytes(data)
