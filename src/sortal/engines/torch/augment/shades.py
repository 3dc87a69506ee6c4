"""What policies do to 256 shades: exactly torchvision's results on bytes, in a half to a tenth of its passes over memory.

Images are uint8 of shape (N, C, S, S); nothing is changed in place. Three facts of the processor stand behind the
forms chosen here: floats become bytes three times faster by way of int16, `where` on bytes takes a value at a time, and a table
of 256 shades is cheaper to divide through than an image.
"""

import math

import numpy as np
import torch
from torch import Tensor

from sortal.engines.torch.augment.colour import grey

WHITE = 255


def brightened(pixels: Tensor, factor: float) -> Tensor:
    """Shades times a factor."""
    return _bytes(pixels.mul(factor))


def saturated(pixels: Tensor, factor: float) -> Tensor:
    """Distance from the pixel's own grey times a factor; grey images stay as they are."""
    return pixels if pixels.shape[1] == 1 else _blended(pixels, grey(pixels.to(torch.float32)).floor_(), factor)


def contrasted(pixels: Tensor, factor: float) -> Tensor:
    """Distance from the image's mean grey times a factor."""
    shades = grey(pixels.to(torch.float32))
    return _blended(pixels, (shades.floor_() if pixels.shape[1] > 1 else shades).mean(dim=(1, 2, 3), keepdim=True), factor)


def sharpened(pixels: Tensor, factor: float) -> Tensor:
    """Distance from the smoothed image times a factor; the outermost pixels stay as they are."""
    shades = pixels.to(torch.float32)
    # A kernel of 1 with 5 in its middle: three rows together, then three columns of those, and the middle four times more.
    rows = (shades[..., :-2, :] + shades[..., 1:-1, :]).add_(shades[..., 2:, :])
    inner = shades[..., 1:-1, 1:-1]
    smooth = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(inner, alpha=4).mul_(1 / 13).round_()
    inner.add_(smooth.sub_(inner), alpha=1 - factor)
    return _bytes(shades)


def solarized(pixels: Tensor, threshold: float) -> Tensor:
    """Shades from a threshold on are inverted."""
    # A byte's opposite is all its bits turned; minus one is all bits set.
    return pixels ^ (pixels >= math.ceil(np.float32(threshold))).view(torch.uint8).neg_()


def stretched(pixels: Tensor) -> Tensor:
    """Each channel from black to white (autocontrast); one of a single shade stays as it is."""
    low, high = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
    flat = low == high
    low, high = low.to(torch.float32), high.to(torch.float32)
    step = torch.where(flat, 1.0, (high - low).mul_(1 / WHITE))
    return _bytes(pixels.to(torch.float32).sub_(torch.where(flat, 0.0, low)).div_(step))


def equalized(pixels: Tensor) -> Tensor:
    """Each channel's shades spread evenly, by the rule of Pillow."""
    shades_RP = pixels.reshape(-1, pixels.shape[2] * pixels.shape[3]).long()
    rows, count = shades_RP.shape
    one = torch.ones(1, dtype=torch.int32, device=pixels.device)
    counts_RS = torch.zeros(rows, 256, dtype=torch.int32, device=pixels.device).scatter_add_(
        1, shades_RP, one.expand(rows, count)
    )
    brightest_R1 = counts_RS.gather(1, pixels.amax(dim=(2, 3)).long().view(-1, 1))
    step_R1 = (count - brightest_R1).div_(WHITE, rounding_mode="floor")
    # Floats, because whole numbers are divided one at a time; they are exact for images of up to 4,096 pixels a side.
    darker_RS = (counts_RS.cumsum(dim=1, dtype=torch.int32) - counts_RS).add_(step_R1 // 2).to(torch.float32)
    table_RS = darker_RS.div_(step_R1.clamp(min=1)).floor_()
    table_RS[:, 0] = 0
    table_RS = torch.where(step_R1 == 0, torch.arange(256, dtype=torch.float32, device=pixels.device), table_RS)
    return _bytes(table_RS).gather(1, shades_RP).view(pixels.shape)


def _blended(pixels: Tensor, other: Tensor, factor: float) -> Tensor:
    return _bytes(pixels.mul(factor).add_(other, alpha=1 - factor))


def _bytes(shades: Tensor) -> Tensor:
    return shades.clamp_(0, WHITE).to(torch.int16).to(torch.uint8)
