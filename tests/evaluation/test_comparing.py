"""Two models on the same images: the exact test, the interval by groups, and how many images it would take."""

import math

import numpy as np
import pytest

from sortal.errors import DataError
from sortal.evaluation.comparing import difference


def hits(only_a: int, only_b: int, both: int = 0) -> tuple[np.ndarray, np.ndarray]:
    first = np.array([True] * only_a + [False] * only_b + [True] * both)
    second = np.array([False] * only_a + [True] * only_b + [True] * both)
    return first, second


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (9, 3), (10, 10), (40, 61), (300, 400)])
def test_the_p_value_is_that_of_mcnemars_exact_test(only_a: int, only_b: int) -> None:
    total, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(total, k) for k in range(fewer + 1)) / 2**total
    assert difference(*hits(only_a, only_b, 50)).p_value == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_the_difference_is_that_of_the_second_to_the_first() -> None:
    found = difference(*hits(2, 8, 90))
    assert found.mean == pytest.approx(0.06)
    assert found.interval[0] < 0.06 < found.interval[1]
    assert (found.only_first, found.only_second, found.images) == (2, 8, 100)
    back = difference(*reversed(hits(2, 8, 90)))
    assert (back.mean, back.p_value) == (pytest.approx(-0.06), found.p_value)


def test_images_of_one_group_count_as_one_witness() -> None:
    first, second = hits(0, 12, 88)
    alone = difference(first, second)
    together = difference(first, second, np.array([0] * 12 + list(range(1, 89))))
    assert alone.p_value == pytest.approx(2 / 2**12)
    assert together.p_value == 1.0  # one group that differs may as well differ the other way
    assert together.interval[1] - together.interval[0] > alone.interval[1] - alone.interval[0]
    assert together.images_needed is not None
    assert alone.images_needed is not None
    assert together.images_needed > 5 * alone.images_needed


def test_groups_of_one_image_change_nothing() -> None:
    first, second = hits(20, 35, 145)
    assert difference(first, second) == difference(first, second, np.arange(200))


def test_two_models_that_never_differ_leave_room_for_what_was_not_seen() -> None:
    found = difference(*hits(0, 0, 100))
    assert (found.mean, found.p_value, found.images_needed) == (0.0, 1.0, None)
    assert found.interval[0] < 0 < found.interval[1]


def test_the_images_needed_are_those_of_the_formula() -> None:
    # Connor 1987 with 8% and 4% discordant: (1.960 sqrt(0.12) + 0.842 sqrt(0.12 - 0.0016))^2 / 0.0016
    wanted = math.ceil((1.959964 * math.sqrt(0.12) + 0.841621 * math.sqrt(0.12 - 0.0016)) ** 2 / 0.0016)
    assert difference(*hits(4, 8, 88)).images_needed == pytest.approx(wanted, abs=1)


def test_one_image_says_nothing() -> None:
    found = difference(*hits(0, 1))
    assert (found.interval[0] <= 0, found.p_value) == (True, 1.0)


@pytest.mark.parametrize("count", [0, 3])
def test_hits_of_other_images_are_refused(count: int) -> None:
    with pytest.raises(DataError, match="same images"):
        difference(np.ones(4 if count else 0, bool), np.ones(count, bool))
