import numpy as np
import pytest
from torchvision.transforms import v2

from sortal.augment import randaugment
from sortal.augment.parameters import Position


@pytest.mark.parametrize("operation", randaugment.OPERATIONS)
def test_magnitudes_are_those_of_torchvision(operation):
    assert tuple(v2.RandAugment._AUGMENTATION_SPACE) == randaugment.OPERATIONS
    values, signed = v2.RandAugment._AUGMENTATION_SPACE[operation]
    assert signed == (operation in randaugment.SIGNED)
    theirs = values(31, 32, 32)
    if theirs is None:
        return
    for level in range(31):
        expected = float(theirs[level])
        expected = int(expected) if operation.startswith("Translate") else expected
        assert randaugment.magnitude(operation, level, 32) == pytest.approx(expected, abs=1e-6)


def test_each_operation_and_both_directions_are_drawn_equally_often():
    operations_NO, reversed_NO = randaugment.choices(Position(0, 0, np.arange(7000, dtype=np.uint64)), 2)
    for operations_N in operations_NO.T:
        assert np.bincount(operations_N, minlength=14).min() > 400
    rotate = randaugment.OPERATIONS.index("Rotate")
    assert abs(reversed_NO[operations_NO == rotate].mean() - 0.5) < 0.1
    assert not reversed_NO[operations_NO == randaugment.OPERATIONS.index("Equalize")].any()
