"""Colours: brightness, contrast, saturation, hue and their loss, as torchvision defines them, each with one factor a sample.

All but the last two work in place, which halves their time: a batch is more than the processor's caches hold.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue in grey


def brightened(images: Tensor, factor_N: NDArray[np.float64]) -> Tensor:
    """Images (N, C, H, W) in 0..1 times a factor each."""
    return images.mul_(_each(factor_N, images)).clamp_(0, 1)


def contrasted(images: Tensor, factor_N: NDArray[np.float64]) -> Tensor:
    """Distance from the image's mean grey times a factor each."""
    factor = _each(factor_N, images)
    # Rows first and the few means of rows in float64, so that a mean never depends on how a batch is divided among threads.
    mean_NC = images.mean(dim=3).mean(dim=2, dtype=torch.float64)
    mean_N111 = grey(mean_NC[:, :, None, None]).to(images.dtype)
    return images.mul_(factor).add_(mean_N111 * (1 - factor)).clamp_(0, 1)


def saturated(images: Tensor, factor_N: NDArray[np.float64]) -> Tensor:
    """Distance from the pixel's own grey times a factor each; grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    return torch.lerp(grey(images), images, _each(factor_N, images), out=images).clamp_(0, 1)


def hue_turned(images: Tensor, turn_N: NDArray[np.float64]) -> Tensor:
    """Hue moved by a share of the colour circle each, value and saturation kept; grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    low, value = torch.aminmax(images, dim=1)
    chroma = value - low
    divisor = torch.where(chroma == 0, 1.0, chroma)
    sixth = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    sixth = sixth + 6 * _each(turn_N, images)[:, 0]
    # Each channel falls from the value by the chroma, as far as the hue is away from that channel's own sector.
    away = ((offset + sixth).remainder(6) for offset in (5, 3, 1))
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1) for k in away], dim=1)


def greyed(images: Tensor, chosen_N: NDArray[np.bool_]) -> Tensor:
    """The chosen images in shades of grey, in as many channels as before."""
    return torch.where(torch.from_numpy(chosen_N).to(images.device).reshape(-1, 1, 1, 1), grey(images), images)


def grey(images: Tensor) -> Tensor:
    """Shape (N, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).unsqueeze(1)


def _each(values_N: NDArray[np.float64], images: Tensor) -> Tensor:
    return torch.from_numpy(values_N).to(images.device, images.dtype).reshape(-1, 1, 1, 1)
