"""Preprocessing: one value and one function by which every image, from training to serving, reaches a network."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How an image file becomes the uint8 pixels that a network's graph takes, and how the graph normalises them.

    Decode (EXIF turn, to RGB, transparency on white) -> resize the shorter side to `resize` -> crop the centre square of that
    side (these are the stored pixels, R x R) -> crop the centre `size` x `size` (what the network sees) -> (x / 255 - mean) / std.
    """

    size: int
    """S: pixels on each side of the network's input."""
    resize: int
    """R >= S: pixels of the shorter side after resizing; stored pixels are R x R so that training can crop from them."""
    channels: int = 3
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """One a channel, of values in 0..1."""
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    max_pixels: int = MAX_PIXELS
    """Width times height beyond which a file is refused before it is decoded."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def stored_pixels(data: bytes, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Decode a file's bytes to the stored pixels, uint8 of shape (R, R, C); raises `UnreadableImage` with the reason."""
    raise AssertionError("being written")


def network_pixels(stored_NRRC: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """The centre S x S of stored pixels, uint8 of shape (N, S, S, C)."""
    low = (preprocess.resize - preprocess.size) // 2
    return stored_NRRC[:, low : low + preprocess.size, low : low + preprocess.size]


_ = io, Image
