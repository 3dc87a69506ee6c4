"""Mixing images with their neighbours in the batch: mixup blends them, cutmix pastes a rectangle; targets are shared alike."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sortal.augment import draws, parameters
from sortal.augment.parameters import Position
from sortal.engines.torch.augment.erasing import box_mask
from sortal.recipe import Augment


def mix(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    spec: Augment,
    seed: int,
    epoch: int,
    keys_N: NDArray[np.uint64],
    step: int,
) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) mixed with the image before them, and float32 targets (N, K), shared like the images.

    Labels are class indices (N,), whose targets sum to 1, or 0 and 1 of shape (N, K), of which any number may be 1.

    Batches are shuffled, so the neighbour is a random partner; each image draws its own share. With both alphas on, the
    step draws mixup or cutmix for the whole batch. With neither, or with one image, targets are plain one-hot.
    """
    targets_NK = (functional.one_hot(labels, classes) if labels.ndim == 1 else labels).to(torch.float32)
    at = Position(seed, epoch, keys_N)
    if spec.mixup and not (spec.cutmix and _heads(seed, step)):
        share_N = torch.from_numpy(parameters.mixup_weights(at, spec.mixup).astype(np.float32)).to(images.device)
        return mixup(images, targets_NK, share_N)
    if spec.cutmix:
        return cutmix(images, targets_NK, parameters.cutmix_boxes(at, spec.cutmix, images.shape[2], images.shape[3]))
    return images, targets_NK


def mixup(images: Tensor, targets_NK: Tensor, share_N: Tensor) -> tuple[Tensor, Tensor]:
    """`share_N` of each image and target, and the rest of its neighbour's."""
    share = share_N.to(images.dtype).reshape(-1, 1, 1, 1)
    mixed = images * share + images.roll(1, 0) * (1 - share)
    return mixed, _shared(targets_NK, share_N)


def cutmix(images: Tensor, targets_NK: Tensor, boxes_N4: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """The neighbour inside the boxes; targets by the area that the clipped box really covers."""
    height, width = images.shape[2:]
    inside = box_mask(boxes_N4, height, width, images.device)
    share_N = torch.from_numpy(1 - boxes_N4[:, 2] * boxes_N4[:, 3] / (height * width)).to(images.device, torch.float32)
    return torch.where(inside, images.roll(1, 0), images), _shared(targets_NK, share_N)


def _shared(targets_NK: Tensor, share_N: Tensor) -> Tensor:
    return targets_NK * share_N[:, None] + targets_NK.roll(1, 0) * (1 - share_N[:, None])


def _heads(seed: int, step: int) -> bool:
    return bool(draws.uniform(seed, 0, np.array([step], dtype=np.uint64), "mixup or cutmix")[0] < 0.5)
