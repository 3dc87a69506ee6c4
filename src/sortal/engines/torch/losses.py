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

Criterion = Callable[[Tensor, Tensor], Tensor]
"""From float32 logits (B, K) and targets, class indices (B,) or shares (B, K), to the mean over the batch."""


def make_loss(spec: Loss, labels_M: NDArray[np.int64], classes: int, device: torch.device) -> Criterion:
    """The recipe's loss for so many classes.

    `labels_M` are the labels of the training images, from which the weights of the classes follow.
    """
    weights_K = None
    if spec.class_weights != "none":
        weights_K = torch.from_numpy(class_weights(spec.class_weights, labels_M, classes)).to(device)
    return LOSSES[spec.name](spec, classes, weights_K)


def cross_entropy(spec: Loss, classes: int, weights_K: Tensor | None) -> Criterion:
    """The mean of -sum_k w_k t_k log p_k over smoothed targets t."""
    smoothing = smoothing_over_all(spec, classes)

    def loss(logits_BK: Tensor, targets: Tensor) -> Tensor:
        # torch's own weighted mean divides by the weights that happen to be in the batch; ours average 1 over an epoch instead.
        losses_B = functional.cross_entropy(logits_BK, targets, weight=weights_K, label_smoothing=smoothing, reduction="none")
        return losses_B.mean()

    return loss


def focal(spec: Loss, classes: int, weights_K: Tensor | None) -> Criterion:
    """The mean of -sum_k w_k t_k (1 - p_k)^gamma log p_k: Lin et al. (2017), "Focal loss for dense object detection", eq. 4.

    Theirs is of one sigmoid a class; with two classes it is this one. Weights of classes are their alpha.
    """
    smoothing = smoothing_over_all(spec, classes)

    def loss(logits_BK: Tensor, targets: Tensor) -> Tensor:
        shares_BK = targets if targets.ndim == 2 else functional.one_hot(targets, classes).to(logits_BK.dtype)
        shares_BK = shares_BK * (1 - smoothing) + smoothing / classes
        terms_BK = shares_BK * _doubted(functional.log_softmax(logits_BK, dim=1), spec.gamma)
        return -(terms_BK if weights_K is None else terms_BK * weights_K).sum(dim=1).mean()

    return loss


def _doubted(logs_BK: Tensor, gamma: float) -> Tensor:
    """log p times (1 - p)^gamma."""
    # Where p rounds to 1, a gamma below 1 has an infinite slope: held just above 0, it has none.
    return (1 - logs_BK.exp()).clamp_min(torch.finfo(logs_BK.dtype).tiny) ** gamma * logs_BK


LOSSES: dict[str, Callable[[Loss, int, Tensor | None], Criterion]] = {"cross_entropy": cross_entropy, "focal": focal}
"""From a loss's word to what makes it of (spec, K, weights of shape (K,) or None)."""


def smoothing_over_all(spec: Loss, classes: int) -> float:
    """The share that is spread over all classes, whichever the recipe's share is spread over; see `Loss.smooth_over`."""
    return spec.label_smoothing * (classes / (classes - 1) if spec.smooth_over == "others" else 1)


def summed_loss(loss: Callable[[Tensor, Tensor], Tensor], outputs: Outputs, targets: Tensor) -> Tensor:
    """The loss of a network's outputs in float32: of its logits, or the weighted sum over it and its auxiliary classifiers."""
    if isinstance(outputs, Tensor):
        return loss(outputs.float(), targets)
    return torch.stack([weight * loss(logits.float(), targets) for weight, logits in outputs]).sum()


def make_label_loss(spec: Loss, labels_MK: NDArray[np.int64], classes: int, device: torch.device) -> Criterion:
    """The recipe's loss of several labels an image, each a question with two answers: of float32 logits (B, K) and targets
    (B, K) from 0 to 1, the mean over batch and labels. Focal loss is Lin et al.'s own, with a sigmoid for each label.

    `labels_MK` are the labels of the training images, from which the weights of the labels follow.
    """
    weights_K = None
    if spec.class_weights != "none":
        weights_K = torch.from_numpy(label_weights(spec.class_weights, labels_MK)).to(device)
    smoothing, focal = smoothing_over_all(spec, 2), spec.name == "focal"

    def loss(logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
        shares_BK = targets_BK.to(logits_BK.dtype) * (1 - smoothing) + smoothing / 2
        if not focal:
            return functional.binary_cross_entropy_with_logits(logits_BK, shares_BK, pos_weight=weights_K)
        terms = []
        for share_BK, signed_BK, weight in ((shares_BK, logits_BK, weights_K), (1 - shares_BK, -logits_BK, None)):
            term_BK = share_BK * _doubted(functional.logsigmoid(signed_BK), spec.gamma)
            terms.append(term_BK if weight is None else term_BK * weight)
        return -(terms[0] + terms[1]).mean()

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
