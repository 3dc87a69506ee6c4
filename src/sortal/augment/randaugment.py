"""RandAugment (Cubuk et al. 2020): fourteen operations, the strength of each, and which of them an image gets."""

import numpy as np
from numpy.typing import NDArray

from sortal.augment import draws
from sortal.augment.parameters import Position

LEVELS = 31

# In the order, and with the largest values, of torchvision's RandAugment; a range is from level 0 to level 30.
RANGES: dict[str, tuple[float, float]] = {
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
OPERATIONS = tuple(RANGES)
SIGNED = frozenset(OPERATIONS[1:10])
"""Operations that go either way."""


def magnitude(operation: str, level: int, side: int) -> float:
    """How strong an operation is at a level of 0..30, for square images of `side` pixels; pixels for translations."""
    low, high = RANGES[operation]
    if operation == "Posterize":
        return float(round(low + (high - low) * level / (LEVELS - 1)))
    value = low + (high - low) * level / (LEVELS - 1)
    return float(int(value * side)) if operation.startswith("Translate") else value


def choices(at: Position, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which operations each image gets, in order, as indices of shape (N, count), and which of them go the other way."""
    uniform_ND = at.uniform("rand_augment", 2 * count)
    operations_NO = draws.integers(uniform_ND[:, :count], 0, len(OPERATIONS) - 1)
    signed_O = np.array([operation in SIGNED for operation in OPERATIONS])
    return operations_NO, signed_O[operations_NO] & (uniform_ND[:, count:] < 0.5)
