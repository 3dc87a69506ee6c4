"""Overlays: a map of what the model looked at, drawn over the picture that it saw."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Dark violet over red to bright yellow, in steps of even lightness: a person with any colour vision reads it.
COLOURS = np.array([(20, 11, 52), (87, 16, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21), (250, 193, 39), (252, 255, 164)])
COVER = 0.62
"""How much of the picture the highest place of a map covers."""
PALE = 0.25
"""How much paler the picture is under a map."""
FROM = 0.1
"""Share of the highest place up to which nothing is drawn: the rest of the picture stays as it is."""
SIDE = 448
"""Pixels: the side of a picture in a file of its own, at least."""
GAP = 8


def pair(image_SSC: NDArray[np.uint8], map_hw: NDArray[np.floating]) -> bytes:
    """A PNG: the picture as the network saw it, and beside it the same with the map over it."""
    side = max(SIDE, image_SSC.shape[0])
    plain, covered = _sized(image_SSC, side), drawn(image_SSC, map_hw, side)
    both = Image.new("RGB", (2 * side + GAP, side), "white")
    both.paste(plain, (0, 0))
    both.paste(covered, (side + GAP, 0))
    return _file(both, "PNG")


def small(image_SSC: NDArray[np.uint8], map_hw: NDArray[np.floating], side: int) -> bytes:
    """A JPEG of the picture with the map over it, for a page."""
    return _file(drawn(image_SSC, map_hw, side), "JPEG", quality=80)


def drawn(image_SSC: NDArray[np.uint8], map_hw: NDArray[np.floating], side: int) -> Image.Image:
    """The picture with the map over it, `side` pixels each way: the more the model looked somewhere, the brighter its colour.

    The picture itself is grey there, since a yellow flower under a yellow map would say nothing.
    """
    picture = np.asarray(_sized(image_SSC, side).convert("L"), dtype=np.float32)[..., None]
    heat = heat_of(map_hw, side)
    steps = np.arange(len(COLOURS))
    colours = np.stack([np.interp(heat * steps[-1], steps, COLOURS[:, channel]) for channel in range(3)], axis=2)
    cover = COVER * np.sqrt(heat)[..., None]
    pale = PALE * 255 + (1 - PALE) * picture
    return Image.fromarray(np.rint(pale + (colours - pale) * cover).clip(0, 255).astype(np.uint8))


def heat_of(map_hw: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    """The map as heat in 0..1, (side, side), smooth between its places; 0 everywhere where it names no place."""
    values = np.maximum(np.nan_to_num(map_hw.astype(np.float32)), 0)
    top = float(np.quantile(values, 0.995))
    if top <= 0:
        top = float(values.max())
    if top <= 0:
        return np.zeros((side, side), np.float32)
    if len(values) > side // 4:  # pixel by pixel it would be dust
        values = _blurred(values, len(values) / 28)
        top = float(np.quantile(values, 0.995)) or top
    large = Image.fromarray(np.minimum(values / top, 1)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(np.clip((np.asarray(large, dtype=np.float32) - FROM) / (1 - FROM), 0, 1))


def _blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    offsets = np.arange(len(values))
    weights = np.exp(-0.5 * ((offsets[:, None] - offsets[None]) / sigma) ** 2)
    matrix = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.asarray(matrix @ values @ matrix.T)


def _sized(image_SSC: NDArray[np.uint8], side: int) -> Image.Image:
    image = Image.fromarray(image_SSC[:, :, 0] if image_SSC.shape[2] == 1 else image_SSC).convert("RGB")
    # A picture of few pixels is shown as what it is; a photograph is enlarged smoothly.
    return image.resize((side, side), Image.Resampling.NEAREST if image.width < 96 else Image.Resampling.BICUBIC)


def _file(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
