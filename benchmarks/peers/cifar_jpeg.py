"""CIFAR-10 as JPEG files in folders, or a zip of them, as the arrays that torchvision's CIFAR10 holds."""

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def load(data: Path, split: str, *, images: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (N, 32, 32, 3) and class numbers (N,) of 'train' or 'test', classes in the order of their names.

    `images` above 0: only so many, spread evenly over the classes.
    """
    files = sorted(_files(data, split))
    if images:
        files = files[:: max(1, len(files) // images)][:images]
    classes = sorted({name for name, _, _ in files})
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(read())).convert("RGB")) for _, _, read in files])
    return pixels, np.array([classes.index(name) for name, _, _ in files])


def held_out(count: int, wanted: int) -> np.ndarray:
    """Which of `count` images in the order of their classes are held out, bool (count,): `wanted` of them, evenly spread."""
    held_N = np.zeros(count, dtype=bool)
    if wanted:
        if not wanted < count:
            raise ValueError(f"{wanted} of {count} images cannot be held out: none would be left to train on")
        held_N[np.linspace(0, count - 1, wanted).round().astype(int)] = True
    return held_N


def _files(data: Path, split: str) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """Class, name and a way to the bytes of every image of a split."""
    if data.is_file():
        archive = zipfile.ZipFile(data)
        for name in archive.namelist():
            parts = Path(name).parts
            if len(parts) > 2 and parts[-3] == split and not name.endswith("/"):
                yield parts[-2], name, lambda name=name: archive.read(name)
    else:
        for path in sorted(data.rglob(f"{split}/*/*")):
            yield path.parent.name, str(path), path.read_bytes


class Pictures(Dataset):  # type: ignore[type-arg]
    """torchvision's CIFAR10 without the files: an image becomes a PIL one, then goes through the transform."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, transform: object) -> None:
        self.data, self.targets, self.transform = pixels, labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[object, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]  # type: ignore[operator]
