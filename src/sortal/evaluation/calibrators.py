"""Calibrators: maps from logits to probabilities that mean what they say, fitted on images that the network never learnt.

Four kinds, from the simplest to the most flexible. 'none' is the softmax, or sigmoid, as it is. 'temperature' divides the
logits by one number (Guo et al. 2017). 'vector' gives each class a factor and a shift of its own (the same paper; Platt 1999
for labels that do not depend on each other). 'isotonic' is one rising map for the probabilities of all classes, whatever its
shape (Zadrozny and Elkan 2002; shared by the classes as by Zhang, Kailkhura and Han 2020, so that their order stays as it was).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import SEAL, Bundle
from sortal.errors import BundleError
from sortal.evaluation.calibration import fit_label_temperature, fit_temperature, sigmoid, softmax

Activation = Literal["softmax", "sigmoid"]
Method = Literal["none", "temperature", "vector", "isotonic"]
Logits = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

KEEP_THE_ORDER = ("none", "temperature", "isotonic")
"""Methods under which the likeliest class stays the likeliest: they cannot flatter an accuracy."""
NUMBERS = 500_000
"""Images times classes that a vector or an isotonic map is fitted on; more of them say nothing new and only take time."""
PRIOR = 4.0
"""How firmly factors (in parts of the common one) and shifts are held to the temperature: to be 0.5 away costs half a nat."""
STEPS, CLOSE = 50, 1e-6
BINS = 1000
NARROWEST = 0.25
"""Log-odds between two knots of an isotonic map: where it is steep, float32 must not make a difference that can be seen."""
FLATTEST = 0.02
"""Slope of an isotonic map where the truth says that it is flat; above 0, so that no two classes become equal."""
BOTTOM = -30.0
"""The lowest log-probability that is told apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibrator:
    """`activation(rising(scale * logits + bias))`, where `rising` is piecewise linear, and the identity without knots.

    For a softmax it maps log-probabilities, for a sigmoid log-odds. Left of its knots and right of them it goes on with the
    slope `FLATTEST`.

    Attributes:
        method: its word.
        activation: 'softmax' or 'sigmoid'.
        scale_K, bias_K: one number, shape (), or one a class.
        knots_M, values_M: where `rising` has its corners, and its values there; both rise.
    """

    method: Method
    activation: Activation
    scale_K: Floats = field(default_factory=lambda: np.ones(()))
    bias_K: Floats = field(default_factory=lambda: np.zeros(()))
    knots_M: Floats = field(default_factory=lambda: np.zeros(0))
    values_M: Floats = field(default_factory=lambda: np.zeros(0))

    def __call__(self, logits_NK: Logits) -> NDArray[np.float32]:
        """Probabilities of logits, float32 of shape (N, K)."""
        found_NK = np.asarray(logits_NK, dtype=np.float64) * self.scale_K + self.bias_K
        if len(self.knots_M):
            found_NK = self.rising(log_softmax(found_NK) if self.activation == "softmax" else found_NK)
        return ACTIVATIONS[self.activation](found_NK).astype(np.float32)

    def rising(self, x: Floats) -> Floats:
        """The piecewise linear map."""
        beyond = np.minimum(x - self.knots_M[0], 0) + np.maximum(x - self.knots_M[-1], 0)
        return np.asarray(np.interp(x, self.knots_M, self.values_M) + FLATTEST * beyond)

    @property
    def bends_M(self) -> Floats:
        """By how much the slope of the map changes at each knot."""
        slopes = np.diff(self.values_M) / np.diff(self.knots_M)
        return np.diff(np.concatenate([[FLATTEST], slopes, [FLATTEST]])) if len(self.knots_M) else np.zeros(0)

    @property
    def temperature(self) -> float:
        """What it divides the logits by: 1 for all but 'temperature'."""
        return 1 / float(self.scale_K) if self.method == "temperature" else 1.0

    def to_json(self) -> dict[str, Any]:
        """Its method and numbers."""
        numbers = {"scale": self.scale_K, "bias": self.bias_K, "knots": self.knots_M, "values": self.values_M}
        return {"method": self.method, **{name: array.tolist() for name, array in numbers.items()}}


def of_bundle(bundle: Bundle) -> Calibrator:
    """What a bundle's graph does with its logits, from what its description says; raises `BundleError` if that is damaged."""
    activation: Activation = "sigmoid" if bundle.task == "multi-label" else "softmax"
    about = bundle.about.get("calibration")
    if about is None:  # of an older version, which knows temperatures alone
        return Calibrator("temperature", activation, scale_K=np.array(1 / bundle.temperature))
    try:
        numbers = {name: _numbers(name, about[name]) for name in ("scale", "bias", "knots", "values")}
        sizes = {name: array.shape for name, array in numbers.items()}
        one_each = {(), (len(bundle.classes),)}
        if not {sizes["scale"], sizes["bias"]} <= one_each or sizes["knots"] != sizes["values"] or len(sizes["knots"]) != 1:
            raise ValueError(f"numbers of other shapes than {len(bundle.classes)} classes have")
        if sizes["knots"] == (1,) or any((np.diff(numbers[name]) <= 0).any() for name in ("knots", "values")):
            raise ValueError("knots and values must rise")
        if (numbers["scale"] <= 0).any():
            raise ValueError("scale must be above zero")
        method: Method = about["method"]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the calibration of {bundle.path} is damaged: {error!r}", hint=SEAL.cure) from error
    return Calibrator(method, activation, numbers["scale"], numbers["bias"], numbers["knots"], numbers["values"])


def _numbers(name: str, value: Any) -> Floats:
    found = np.array(value, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError(f"{name} must be finite numbers")
    return found


ACTIVATIONS: dict[Activation, Callable[[Floats], Floats]] = {"softmax": softmax, "sigmoid": sigmoid}


def log_softmax(logits_NK: Logits) -> Floats:
    """Logarithms of the softmax, shape (N, K), at least `BOTTOM`; safe for logits of any size."""
    below_NK = np.asarray(logits_NK - np.max(logits_NK, axis=1, keepdims=True), dtype=np.float64)
    return np.asarray(np.maximum(below_NK - np.log(np.exp(below_NK).sum(axis=1, keepdims=True)), BOTTOM))


def uncalibrated(activation: Activation) -> Calibrator:
    """The activation alone."""
    return Calibrator("none", activation)


def fitted(method: Method, logits_MK: Logits, labels: Labels, activation: Activation) -> Calibrator:
    """A calibrator of that method, fitted on the logits of M held-out images.

    `labels` are class indices (M,) for a softmax, 0 and 1 of shape (M, K) for a sigmoid.
    """
    return FITS[method](np.asarray(logits_MK, dtype=np.float64), labels, activation)


def _none(logits_MK: Floats, labels: Labels, activation: Activation) -> Calibrator:
    return uncalibrated(activation)


def _temperature(logits_MK: Floats, labels: Labels, activation: Activation) -> Calibrator:
    fit = {"softmax": fit_temperature, "sigmoid": fit_label_temperature}[activation]
    return Calibrator("temperature", activation, scale_K=np.array(1 / fit(logits_MK, labels)))


def _vector(logits_MK: Floats, labels: Labels, activation: Activation) -> Calibrator:
    """The likeliest factors and shifts under a prior around the temperature's answer, by Newton's steps: the loss is convex."""
    start = float(_temperature(logits_MK, labels, activation).scale_K)
    problem = _Vector(*_few(logits_MK, _targets(labels, logits_MK.shape[1])), activation, start)
    parameters_P = problem.centre_P
    loss = problem.loss(parameters_P)
    for _ in range(STEPS):
        step_P, share = problem.step(parameters_P), 1.0
        while (reached := problem.loss(parameters_P - share * step_P)) > loss and share > CLOSE:
            share /= 2
        if not loss - reached > CLOSE:
            break
        parameters_P, loss = parameters_P - share * step_P, reached
    scale_K, bias_K = np.split(parameters_P, 2)
    # A factor of 0 or below would forget a class, or turn it round: no network that learnt anything asks for it.
    return Calibrator("vector", activation, np.maximum(scale_K, FLATTEST * start), bias_K)


@dataclass(frozen=True, slots=True)
class _Vector:
    """The loss of factors and shifts, P = 2 K numbers in one row, over M images."""

    logits_MK: Floats
    targets_MK: Floats
    activation: Activation
    start: float

    @property
    def centre_P(self) -> Floats:
        classes = self.logits_MK.shape[1]
        return np.concatenate([np.full(classes, self.start), np.zeros(classes)])

    @property
    def prior_P(self) -> Floats:
        classes = self.logits_MK.shape[1]
        return PRIOR / np.concatenate([np.full(classes, self.start**2), np.ones(classes)])

    def mapped(self, parameters_P: Floats) -> Floats:
        scale_K, bias_K = np.split(parameters_P, 2)
        return np.asarray(self.logits_MK * scale_K + bias_K)

    def loss(self, parameters_P: Floats) -> float:
        """Minus the logarithm of the likelihood and of the prior."""
        mapped_MK, targets_MK = self.mapped(parameters_P), self.targets_MK
        if self.activation == "softmax":
            fit = -float((targets_MK * log_softmax(mapped_MK)).sum())
        else:
            fit = float((np.logaddexp(0, mapped_MK) - targets_MK * mapped_MK).sum())
        return fit + float((self.prior_P * (parameters_P - self.centre_P) ** 2).sum()) / 2

    def step(self, parameters_P: Floats) -> Floats:
        """Newton's: the slope of the loss, divided by its curvature."""
        z_MK, probs_MK = self.logits_MK, ACTIVATIONS[self.activation](self.mapped(parameters_P))
        wrong_MK = probs_MK - self.targets_MK
        slope_P = np.concatenate([(wrong_MK * z_MK).sum(axis=0), wrong_MK.sum(axis=0)])
        slope_P += self.prior_P * (parameters_P - self.centre_P)
        spread_MK = probs_MK if self.activation == "softmax" else probs_MK * (1 - probs_MK)
        blocks = [[np.diag((spread_MK * z_MK**power).sum(axis=0)) for power in powers] for powers in ((2, 1), (1, 0))]
        curvature_PP: Floats = np.block(blocks) + np.diag(self.prior_P)
        if self.activation == "softmax":  # one class's gain is the others' loss
            both_MP = np.concatenate([probs_MK * z_MK, probs_MK], axis=1)
            curvature_PP -= both_MP.T @ both_MP
        return np.asarray(np.linalg.solve(curvature_PP, slope_P))


def _isotonic(logits_MK: Floats, labels: Labels, activation: Activation) -> Calibrator:
    """The rising map under which all pairs of image and class are likeliest, each level softened as by one answer more of
    either kind, so that nothing becomes certain; the identity where the logits do not differ.
    """
    logits_MK, targets_MK = _few(logits_MK, _targets(labels, logits_MK.shape[1]))
    log_NK = log_softmax(logits_MK) if activation == "softmax" else logits_MK
    odds_P = (_log_odds(log_NK) if activation == "softmax" else log_NK).ravel()
    order_P = np.argsort(odds_P, kind="stable")
    starts_B = np.linspace(0, len(order_P), min(BINS, len(order_P)), endpoint=False).astype(np.int64)
    weights_B = np.diff(starts_B, append=len(order_P)).astype(np.float64)
    odds_B = np.add.reduceat(odds_P[order_P], starts_B) / weights_B
    levels = _merged(odds_B, np.add.reduceat(targets_MK.ravel()[order_P], starts_B), weights_B)
    softened_B = (levels[1] + 1) / (levels[2] + 2)
    odds_M, there_M, weights_M = _merged(levels[0], softened_B * levels[2], levels[2], narrowest=NARROWEST)
    if len(odds_M) < 2:
        return Calibrator("isotonic", activation)
    shares_M = there_M / weights_M
    if activation == "softmax":
        knots_M, values_M = -np.logaddexp(0, -odds_M), np.log(shares_M)
    else:
        knots_M, values_M = odds_M, np.log(shares_M) - np.log1p(-shares_M)
    # Strictly rising, and by no more than a float can show.
    rises_M = np.maximum(np.diff(values_M), FLATTEST * np.diff(knots_M))
    values_M = values_M[0] + np.concatenate([[0.0], np.cumsum(rises_M)])
    return Calibrator("isotonic", activation, knots_M=knots_M, values_M=values_M)


def _merged(odds_B: Floats, there_B: Floats, weights_B: Floats, *, narrowest: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Neighbours put together until shares rise (pool adjacent violators, Ayer et al. 1955) and are `narrowest` apart."""
    pools: list[tuple[float, float, float]] = []
    for odds, there, weight in zip(odds_B.tolist(), there_B.tolist(), weights_B.tolist(), strict=True):
        pool = (odds, there, weight)
        while pools and (pools[-1][1] * pool[2] >= pool[1] * pools[-1][2] or pool[0] - pools[-1][0] < narrowest):
            last = pools.pop()
            weight = last[2] + pool[2]
            pool = ((last[0] * last[2] + pool[0] * pool[2]) / weight, last[1] + pool[1], weight)
        pools.append(pool)
    odds_M, there_M, weights_M = np.array(pools).T
    return odds_M, there_M, weights_M


def _log_odds(log_probs_NK: Floats) -> Floats:
    """log(p / (1 - p)) of log p, kept within +-`BOTTOM`."""
    rest_NK = np.log(np.maximum(-np.expm1(log_probs_NK), np.exp(BOTTOM)))
    return np.asarray(np.clip(log_probs_NK - rest_NK, BOTTOM, -BOTTOM))


def _targets(labels: Labels, classes: int) -> Floats:
    """Zeros and ones of shape (M, K)."""
    return np.eye(classes)[labels] if labels.ndim == 1 else np.asarray(labels, dtype=np.float64)


def _few(logits_MK: Floats, targets_MK: Floats) -> tuple[Floats, Floats]:
    """At most `NUMBERS` of them, spread evenly over the rows."""
    rows, most = len(logits_MK), max(1, NUMBERS // logits_MK.shape[1])
    if rows <= most:
        return logits_MK, targets_MK
    kept = np.linspace(0, rows - 1, most).astype(np.int64)
    return logits_MK[kept], targets_MK[kept]


FITS: dict[Method, Callable[[Floats, Labels, Activation], Calibrator]] = {
    "none": _none,
    "temperature": _temperature,
    "vector": _vector,
    "isotonic": _isotonic,
}
