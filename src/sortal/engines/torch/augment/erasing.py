"""Erasing: a rectangle of each chosen image is painted in one colour (Zhong et al. 2020)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def blank(images: Tensor, boxes_N4: NDArray[np.int64], mean: Sequence[float]) -> Tensor:
    """Images (N, C, H, W), in place, with `mean` inside the boxes; a box without height or width changes nothing."""
    rows_M = np.flatnonzero(boxes_N4[:, 2] * boxes_N4[:, 3])
    rows = torch.from_numpy(rows_M).to(images.device)
    inside = box_mask(boxes_N4[rows_M], images.shape[2], images.shape[3], images.device)
    colour = torch.tensor(mean, dtype=images.dtype, device=images.device).reshape(1, -1, 1, 1)
    return images.index_copy_(0, rows, torch.where(inside, colour, images.index_select(0, rows)))


def box_mask(boxes_N4: NDArray[np.int64], height: int, width: int, device: torch.device) -> Tensor:
    """bool of shape (N, 1, height, width): True inside each sample's box of top, left, height, width."""
    top, left, tall, wide = torch.from_numpy(boxes_N4).to(device).unsqueeze(2).unbind(1)
    row, column = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = (row >= top) & (row < top + tall)
    in_columns = (column >= left) & (column < left + wide)
    return (in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1)
