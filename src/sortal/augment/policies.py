"""Policies (AutoAugment, RandAugment, TrivialAugment): operations, the strength of each, and which of them an image gets.

Cubuk et al., "AutoAugment", CVPR 2019; Cubuk et al., "RandAugment", NeurIPS 2020; Müller and Hutter, "TrivialAugment", ICCV
2021. Tables and ranges are those of torchvision, since the papers' own code differs from the papers and from each other.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sortal.augment import draws
from sortal.augment.parameters import Floats, Position

LEVELS = 31
AUTO_LEVELS = 10

Range = tuple[float, float]
# In the order, and with the largest values, of torchvision's RandAugment; a range is from the lowest to the highest level.
RANGES: dict[str, Range] = {
    "Identity": (0, 0),
    "ShearX": (0, 0.3),
    "ShearY": (0, 0.3),
    "TranslateX": (0, 150 / 331),  # share of the side
    "TranslateY": (0, 150 / 331),
    "Rotate": (0, 30),  # degrees
    "Brightness": (0, 0.9),
    "Color": (0, 0.9),
    "Contrast": (0, 0.9),
    "Sharpness": (0, 0.9),
    "Posterize": (8, 4),  # bits that are kept
    "Solarize": (1, 0),  # share of the brightest value from which on pixels are inverted
    "AutoContrast": (0, 0),
    "Equalize": (0, 0),
}
WIDE: dict[str, Range] = RANGES | {
    "ShearX": (0, 0.99),
    "ShearY": (0, 0.99),
    "TranslateX": (0, 32),  # pixels, whatever the side
    "TranslateY": (0, 32),
    "Rotate": (0, 135),
    "Brightness": (0, 0.99),
    "Color": (0, 0.99),
    "Contrast": (0, 0.99),
    "Sharpness": (0, 0.99),
    "Posterize": (8, 2),
}
OPERATIONS = (*RANGES, "Invert")
SIGNED = frozenset(OPERATIONS[1:10])
"""Operations that go either way."""

Part = tuple[str, float, int]
"""An operation, its probability, and its level of 0..9."""
AUTO: dict[str, tuple[tuple[Part, Part], ...]] = {
    "cifar10": (
        (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
        (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
        (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
        (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
        (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
        (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
        (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
        (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
        (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
        (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
        (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
        (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
        (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
        (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
        (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
        (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
        (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
        (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
        (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
        (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
        (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
        (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
        (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
        (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
        (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
    ),
    "imagenet": (
        (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
        (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
        (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
        (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
        (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
        (("Equalize", 0.4, 0), ("Rotate", 0.8, 8)),
        (("Solarize", 0.6, 3), ("Equalize", 0.6, 0)),
        (("Posterize", 0.8, 5), ("Equalize", 1.0, 0)),
        (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
        (("Equalize", 0.6, 0), ("Posterize", 0.4, 6)),
        (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
        (("Rotate", 0.4, 9), ("Equalize", 0.6, 0)),
        (("Equalize", 0.0, 0), ("Equalize", 0.8, 0)),
        (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
        (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
        (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
        (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
        (("Sharpness", 0.4, 7), ("Invert", 0.6, 0)),
        (("ShearX", 0.6, 5), ("Equalize", 1.0, 0)),
        (("Color", 0.4, 0), ("Equalize", 0.6, 0)),
        (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
        (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
        (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
        (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
        (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
    ),
}

Step = tuple[NDArray[np.int64], Floats]
"""What each of N images goes through next: the operation, as an index into OPERATIONS, and its strength with its sign."""


def magnitude(operation: str, level: int, side: int, *, levels: int = LEVELS, ranges: Mapping[str, Range] = RANGES) -> float:
    """How strong an operation is at a level of 0..levels - 1, for square images of `side` pixels; pixels for translations."""
    low, high = ranges.get(operation, (0, 0))
    value = low + (high - low) * level / (levels - 1)
    if operation == "Posterize":
        return float(round(value))
    if operation.startswith("Translate"):
        return float(int(value * side if ranges is RANGES else value))
    return value


def rand_steps(at: Position, *, count: int, level: int, side: int) -> list[Step]:
    """RandAugment: `count` operations of one level, drawn evenly."""
    uniform_ND = at.uniform("rand_augment", 2 * count)
    operations_NO = draws.integers(uniform_ND[:, :count], 0, len(RANGES) - 1)
    strength_O = np.array([magnitude(operation, level, side) for operation in OPERATIONS])
    signs_NO = _signs(operations_NO, uniform_ND[:, count:])
    return [(operations_NO[:, i], signs_NO[:, i] * strength_O[operations_NO[:, i]]) for i in range(count)]


def auto_steps(at: Position, *, policy: str, side: int) -> list[Step]:
    """AutoAugment: one of the policy's pairs of operations, drawn evenly, each of the two done with its own probability."""
    uniform_N5 = at.uniform("auto_augment", 5)
    pair_N = draws.integers(uniform_N5[:, 0], 0, len(AUTO[policy]) - 1)
    steps = []
    for place in (0, 1):
        parts = [pair[place] for pair in AUTO[policy]]
        operation_P = np.array([OPERATIONS.index(operation) for operation, _, _ in parts])
        strength_P = np.array([magnitude(operation, level, side, levels=AUTO_LEVELS) for operation, _, level in parts])
        probability_P = np.array([probability for _, probability, _ in parts])
        done_N = uniform_N5[:, 1 + place] < probability_P[pair_N]
        operation_N = np.where(done_N, operation_P[pair_N], OPERATIONS.index("Identity"))
        sign_N = _signs(operation_N, uniform_N5[:, 3 + place])
        steps.append((operation_N, np.where(done_N, sign_N * strength_P[pair_N], 0.0)))
    return steps


def trivial_steps(at: Position, *, side: int) -> list[Step]:
    """TrivialAugment (Wide): one operation, of a level that is drawn too."""
    uniform_N3 = at.uniform("trivial_augment", 3)
    operation_N = draws.integers(uniform_N3[:, 0], 0, len(WIDE) - 1)
    level_N = draws.integers(uniform_N3[:, 1], 0, LEVELS - 1)
    strength_OL = np.array([_all_levels(operation, side, WIDE) for operation in WIDE])
    return [(operation_N, _signs(operation_N, uniform_N3[:, 2]) * strength_OL[operation_N, level_N])]


def _all_levels(operation: str, side: int, ranges: Mapping[str, Range]) -> Sequence[float]:
    return [magnitude(operation, level, side, ranges=ranges) for level in range(LEVELS)]


def _signs(operations: NDArray[np.int64], uniform: NDArray[np.float32]) -> Floats:
    """-1 for half of the operations that go either way, 1 for the rest; in the arguments' shape."""
    signed_O = np.array([operation in SIGNED for operation in OPERATIONS])
    return np.where(signed_O[operations] & (uniform < 0.5), -1.0, 1.0)
