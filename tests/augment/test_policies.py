import numpy as np
import pytest
from torchvision.transforms import AutoAugmentPolicy, v2

from sortal.augment import policies
from sortal.augment.parameters import Position
from sortal.augment.policies import AUTO, AUTO_LEVELS, LEVELS, OPERATIONS, RANGES, SIGNED, WIDE, magnitude

MANY = Position(0, 0, np.arange(7000, dtype=np.uint64))
SPACES = {
    "rand": (v2.RandAugment._AUGMENTATION_SPACE, RANGES, LEVELS),
    "auto": (v2.AutoAugment._AUGMENTATION_SPACE, RANGES, AUTO_LEVELS),
    "trivial": (v2.TrivialAugmentWide._AUGMENTATION_SPACE, WIDE, LEVELS),
}
IDENTITY = OPERATIONS.index("Identity")


@pytest.mark.parametrize("side", [32, 224])
@pytest.mark.parametrize("name", SPACES)
def test_magnitudes_are_those_of_torchvision(name, side):
    space, ranges, levels = SPACES[name]
    assert set(space) <= set(OPERATIONS)
    for operation, (values, signed) in space.items():
        assert signed == (operation in SIGNED)
        theirs = values(levels, side, side)
        for level in range(levels if theirs is not None else 0):
            expected = float(theirs[level])
            if operation.startswith("Translate"):
                # Whole pixels; half of 32 is 15.99 in torchvision's float32, which cuts it to 15.
                expected = int(expected + 1e-4)
            ours = magnitude(operation, level, side, levels=levels, ranges=ranges)
            assert ours == pytest.approx(expected, abs=1e-5), (operation, level)


def test_the_operations_of_rand_and_trivial_augment_are_those_of_torchvision_in_its_order():
    assert tuple(v2.RandAugment._AUGMENTATION_SPACE) == tuple(RANGES)
    assert tuple(v2.TrivialAugmentWide._AUGMENTATION_SPACE) == tuple(WIDE)


@pytest.mark.parametrize("name", AUTO)
def test_the_policies_of_auto_augment_are_those_of_torchvision(name):
    theirs = v2.AutoAugment()._get_policies(AutoAugmentPolicy[name.upper()])
    without_level = [tuple((operation, share, level or 0) for operation, share, level in pair) for pair in theirs]
    assert list(AUTO[name]) == without_level
    assert len(AUTO[name]) == 25


def test_each_operation_of_rand_augment_and_both_directions_are_drawn_equally_often():
    for operation_N, strength_N in policies.rand_steps(MANY, count=2, level=9, side=32):
        assert np.bincount(operation_N, minlength=14).min() > 400
        assert operation_N.max() == 13
        turned_N = strength_N[operation_N == OPERATIONS.index("Rotate")]
        assert set(turned_N) == {-9.0, 9.0}
        assert abs((turned_N > 0).mean() - 0.5) < 0.1


def test_each_operation_level_and_direction_of_trivial_augment_is_drawn_equally_often():
    ((operation_N, strength_N),) = policies.trivial_steps(MANY, side=32)
    assert np.bincount(operation_N, minlength=14).min() > 400
    turned_N = strength_N[operation_N == OPERATIONS.index("Rotate")]
    levels, counts = np.unique(np.abs(turned_N), return_counts=True)
    np.testing.assert_allclose(levels, np.linspace(0, 135, 31))
    assert counts.min() > 4
    assert abs((turned_N > 0).mean() - 0.5) < 0.1


@pytest.mark.parametrize("name", AUTO)
def test_the_parts_of_a_policy_are_done_as_often_as_they_say(name):
    for place, (operation_N, strength_N) in enumerate(policies.auto_steps(MANY, policy=name, side=32)):
        expected = np.zeros(len(OPERATIONS))
        for pair in AUTO[name]:
            operation, share, _ = pair[place]
            expected[OPERATIONS.index(operation)] += share / 25
        expected[IDENTITY] = 1 - expected.sum()
        found = np.bincount(operation_N, minlength=len(OPERATIONS)) / len(MANY)
        np.testing.assert_allclose(found, expected, atol=0.02)
        assert not strength_N[operation_N == IDENTITY].any()
