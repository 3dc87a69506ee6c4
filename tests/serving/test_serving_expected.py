"""What one more image would wait follows what was measured, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sortal.serving.expected import HALVES, Expected


def busy(found: Expected, seconds: float, *, answers: int = 200, begin: float = 100.0) -> float:
    """So many answers one after another, each of a request that was there before the last one was answered."""
    for number in range(answers + 1):
        found.answered(1, since=begin + seconds * (number - 2), now=begin + seconds * number)
    return begin + seconds * answers


def test_who_never_answered_expects_nothing() -> None:
    assert Expected(10).each(1e6) == 0


@pytest.mark.parametrize("seconds", [0.002, 0.1, 1.0])
def test_it_is_the_time_between_two_answers_while_there_is_work(seconds: float) -> None:
    found = Expected(10)
    assert found.each(busy(found, seconds)) == pytest.approx(seconds, rel=0.01)


def test_several_images_of_one_request_share_its_time() -> None:
    found = Expected(10)
    for number in range(200):
        found.answered(8, since=number - 1.5, now=float(number))
    assert found.each(199.0) == pytest.approx(1 / 8, rel=0.01)


def test_a_request_that_came_when_nobody_waited_says_nothing() -> None:
    found = Expected(10)
    end = busy(found, 0.01)
    before = found.each(end)
    found.answered(1, since=end + 5, now=end + 5.01)
    assert 0 < found.each(end + 5.01) < before


def test_what_nothing_confirms_is_forgotten_so_that_nobody_is_refused_for_ever() -> None:
    found = Expected(10)
    end = busy(found, 5.0)
    assert found.each(end + 5.0 + HALVES) == pytest.approx(found.each(end + 5.0) / 2)
    assert found.each(end + 60) < 1e-6


@given(some.lists(some.tuples(some.integers(1, 256), some.floats(0, 1e4), some.floats(0, 1e4)), max_size=30))
def test_it_is_never_negative_and_never_longer_than_the_deadline(answers: list[tuple[int, float, float]]) -> None:
    found, now = Expected(3.0), 0.0
    for images, gap, before in answers:
        now += gap
        found.answered(images, since=now - before, now=now)
        assert 0 <= found.each(now) <= 3.0
