"""Calibration: one number, the temperature, that makes probabilities mean what they say."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.errors import DataError

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a fitted temperature. Logits that would need more are not badly scaled, they are wrong."""
STEPS = 100
CLOSE = 1e-7
# Numbers a block of rows holds, so that the arithmetic stays within a core's cache.
BLOCK = 1 << 16

Logits = NDArray[np.floating[Any]]


def softmax(logits_NK: Logits) -> NDArray[np.float64]:
    """Probabilities of logits, shape (N, K), rows summing to one; safe for logits of any size.

    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    powers_NK = np.exp(np.subtract(logits_NK, np.max(logits_NK, axis=1, keepdims=True), dtype=np.float64))
    return np.asarray(powers_NK / powers_NK.sum(axis=1, keepdims=True))


def with_temperature(logits_NK: Logits, temperature: float) -> NDArray[np.float32]:
    """float32 probabilities of logits divided by the temperature, shape (N, K). The order of the classes does not
    change.
    """
    assert temperature > 0, temperature
    return softmax(np.asarray(logits_NK, dtype=np.float64) / temperature).astype(np.float32)


def as_logits(probs_NK: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Logits that have these probabilities; a softmax does not tell logits apart that differ by a constant."""
    return np.log(np.maximum(probs_NK.astype(np.float64), 1e-30))


def without_temperature(probs_NK: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float32]:
    """The probabilities as they were before their logits were divided by the temperature, float32."""
    return softmax(as_logits(probs_NK) * temperature).astype(np.float32)


def fit_temperature(logits_NK: Logits, labels_N: NDArray[np.integer[Any]]) -> float:
    """The temperature under which the labels are most likely (Guo et al. 2017), within 0.05..20.

    Targets are Platt's (1999): the true class has (N + 1) / (N + 2), the other classes share the rest. That is maximum
    likelihood for all practical purposes as soon as there are some hundred images, and it keeps the answer finite where
    the classes are separated without an error, which would otherwise call for a temperature of 0 and so for certainty.

    Rows with a label below 0 (unknown) do not count. Without any labelled row, with one class, or with logits that do
    not differ, nothing can be learnt: the answer is 1. Raises `DataError` for logits that are not finite or of another
    shape.
    """
    logits_NK, labels_N = np.asarray(logits_NK, dtype=np.float64), np.asarray(labels_N)
    if logits_NK.ndim != 2 or labels_N.shape != logits_NK.shape[:1]:
        raise DataError(
            f"logits of shape {logits_NK.shape} do not go with labels of shape {labels_N.shape}",
            hint="give (N, K) and (N,)",
        )
    logits_NK, labels_N = logits_NK[labels_N >= 0], labels_N[labels_N >= 0]
    n, k = logits_NK.shape
    if n == 0 or k < 2:
        return 1.0
    if labels_N.max() >= k:
        raise DataError(f"label {labels_N.max()} is outside 0..{k - 1}", hint="give labels as class indices")
    if not np.isfinite(logits_NK).all():
        row = int(np.flatnonzero(~np.isfinite(logits_NK).all(axis=1))[0])
        raise DataError(f"logits in row {row} are not finite", hint="look for a training that diverged")
    logits_NK = logits_NK - logits_NK.max(axis=1, keepdims=True)
    if not logits_NK.any():
        return 1.0
    doubt = 1 / (n + 2)
    true_N = logits_NK[np.arange(n), labels_N]
    rows = max(1, BLOCK // k)
    wanted = float(((1 - doubt) * true_N + doubt * (logits_NK.sum(axis=1) - true_N) / (k - 1)).mean())

    def slope(sharpness: float) -> tuple[float, float]:
        """First and second derivative of the mean loss by the sharpness 1/T, in which the loss is convex."""
        means = squares = 0.0
        for start in range(0, n, rows):
            block_BK = logits_NK[start : start + rows]
            probs_BK = softmax(block_BK * sharpness)
            means_B = (probs_BK * block_BK).sum(axis=1)
            means += means_B.sum()
            squares += ((probs_BK * block_BK**2).sum(axis=1) - means_B**2).sum()
        return means / n - wanted, squares / n

    # Newton's steps, within a bracket that every step narrows; a step that leaves the bracket becomes its geometric
    # middle.
    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low)[0] >= 0:
        return HOTTEST
    if slope(high)[0] <= 0:
        return COLDEST
    sharpness = 1.0
    for _ in range(STEPS):
        first, second = slope(sharpness)
        low, high = (sharpness, high) if first < 0 else (low, sharpness)
        step = sharpness - first / second if second > 0 else np.inf
        following = step if low < step < high else float(np.sqrt(low * high))
        if abs(following - sharpness) <= CLOSE * sharpness:
            return 1 / following
        sharpness = following
    return 1 / sharpness


def sigmoid(logits_NK: Logits) -> NDArray[np.float64]:
    """Probabilities of labels that do not depend on each other, shape (N, K); safe for logits of any size.

    >>> sigmoid(np.array([[0.0, -1000.0]])).tolist()
    [[0.5, 0.0]]
    """
    logits_NK = np.asarray(logits_NK, dtype=np.float64)
    small_NK = np.exp(-np.abs(logits_NK))
    return np.asarray(np.where(logits_NK >= 0, 1.0, small_NK) / (1 + small_NK))


def as_label_logits(probs_NK: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Logits whose sigmoid gives these probabilities; float32 tells none beyond 17 from certainty, so they end there above."""
    probs_NK = probs_NK.astype(np.float64)
    return np.asarray(np.log(np.maximum(probs_NK, 1e-30)) - np.log(np.maximum(1 - probs_NK, 2.0**-25)))


def fit_label_temperature(logits_NK: Logits, labels_NK: NDArray[np.integer[Any]]) -> float:
    """One temperature for all labels, as `fit_temperature`: each label of each image is a question of two answers.

    A sigmoid of a logit is a softmax of that logit beside 0, so that nothing new is to be fitted.
    """
    logits_P = np.asarray(logits_NK, dtype=np.float64).ravel()
    return fit_temperature(np.stack([np.zeros_like(logits_P), logits_P], axis=1), np.asarray(labels_NK).ravel())
