"""Losses: from logits and targets to the one number that is minimised, with rare classes weighing as the recipe says."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sortal.recipe import Loss

BETA = 0.999  # of the effective number: beyond some 1,000 images of a class more of them hardly count (Cui et al. 2019)


def make_loss(
    spec: Loss, labels_M: NDArray[np.int64], classes: int, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss: of float32 logits (B, K) and of class indices (B,) or shares (B, K), the mean over the batch.

    `labels_M` are the labels of the training images, from which the weights of the classes follow.
    """
    if spec.class_weights == "none":
        return lambda logits, targets: functional.cross_entropy(logits, targets, label_smoothing=spec.label_smoothing)
    weights = torch.from_numpy(class_weights(spec.class_weights, labels_M, classes)).to(device)

    def weighted(logits: Tensor, targets: Tensor) -> Tensor:
        # torch's own weighted mean divides by the weights that happen to be in the batch; ours average 1 over an epoch instead.
        losses = functional.cross_entropy(
            logits, targets, weight=weights, label_smoothing=spec.label_smoothing, reduction="none"
        )
        return losses.mean()

    return weighted


def make_label_loss(
    spec: Loss, labels_MK: NDArray[np.int64], classes: int, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss of several labels an image: binary cross-entropy of float32 logits (B, K) and of targets (B, K) from 0
    to 1, the mean over batch and labels.

    `labels_MK` are the labels of the training images, from which the weights of the labels follow.
    """
    weights = None
    if spec.class_weights != "none":
        weights = torch.from_numpy(label_weights(spec.class_weights, labels_MK)).to(device)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        share = spec.label_smoothing
        smooth = targets.to(logits.dtype) * (1 - share) + share / 2
        return functional.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights)

    return loss


def label_weights(kind: str, labels_MK: NDArray[np.int64]) -> NDArray[np.float32]:
    """What the presence of each label weighs, shape (K,); 1 for a label that all or none have. See `Loss.class_weights`."""
    with_K = labels_MK.sum(axis=0).astype(np.float64)
    without_K = len(labels_MK) - with_K
    both_K = (with_K > 0) & (without_K > 0)
    ratio_K = np.divide(_numbers(kind, without_K), _numbers(kind, with_K), out=np.ones(len(with_K)), where=both_K)
    return np.asarray(np.where(both_K, ratio_K, 1.0), dtype=np.float32)


def _numbers(kind: str, counts_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much so many images count for: their number, or their effective number."""
    return counts_K if kind == "inverse" else (1 - BETA**counts_K) / (1 - BETA)


def class_weights(kind: str, labels_M: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Weights of shape (K,) whose mean over the images is 1; 0 for a class without images. See `Loss.class_weights`."""
    counts_K = np.bincount(labels_M, minlength=classes).astype(np.float64)
    numbers_K = _numbers(kind, counts_K)
    weights_K = np.divide(1.0, numbers_K, out=np.zeros(classes), where=counts_K > 0)
    return np.asarray(weights_K * counts_K.sum() / (weights_K * counts_K).sum(), dtype=np.float32)
