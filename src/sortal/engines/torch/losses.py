"""Losses: from logits and targets to the one number that is minimised, with rare classes weighing as the recipe says."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sortal.engines.torch.network import Outputs
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


def total(loss: Callable[[Tensor, Tensor], Tensor], outputs: Outputs, targets: Tensor) -> Tensor:
    """The loss of a network's outputs in float32: of its logits, or the weighted sum over it and its auxiliary classifiers."""
    if isinstance(outputs, Tensor):
        return loss(outputs.float(), targets)
    return torch.stack([weight * loss(logits.float(), targets) for weight, logits in outputs]).sum()


def class_weights(kind: str, labels_M: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Weights of shape (K,) whose mean over the images is 1; 0 for a class without images. See `Loss.class_weights`."""
    counts_K = np.bincount(labels_M, minlength=classes).astype(np.float64)
    numbers_K = counts_K if kind == "inverse" else (1 - BETA**counts_K) / (1 - BETA)
    weights_K = np.divide(1.0, numbers_K, out=np.zeros(classes), where=counts_K > 0)
    return np.asarray(weights_K * counts_K.sum() / (weights_K * counts_K).sum(), dtype=np.float32)
