"""Where the time goes: parts within parts, and parts that fail."""

import pytest

from sortal.events import Event, PhaseDone
from sortal.workflows.phases import Phases


class Clock:
    """A clock that stands still unless it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_part_within_another_has_its_time_to_itself(clock: Clock) -> None:
    told: list[Event] = []
    phases = Phases(told.append, clock)
    with phases.during("scan"):
        clock.now += 1
        with phases.during("load"):
            clock.now += 10
        clock.now += 2
    assert phases.seconds == {"load": 10, "scan": 3}
    assert told == [PhaseDone("load", 10), PhaseDone("scan", 3)]


def test_a_part_that_comes_again_adds_up_and_is_told_each_time(clock: Clock) -> None:
    told: list[Event] = []
    phases = Phases(told.append, clock)
    for seconds in (1, 2):
        with phases.during("load"):
            clock.now += seconds
    assert phases.seconds == {"load": 3}
    assert told == [PhaseDone("load", 1), PhaseDone("load", 2)]


def test_time_that_is_mixed_with_a_part_is_taken_out_of_it(clock: Clock) -> None:
    phases = Phases(lambda event: None, clock)
    with phases.during("train"):
        clock.now += 10
        phases.of_which("validation", 4)
    assert phases.seconds == {"validation": 4, "train": 6}


def test_a_part_that_fails_is_not_told_and_its_time_stays_with_the_part_around_it(clock: Clock) -> None:
    told: list[Event] = []
    phases = Phases(told.append, clock)

    def fails() -> None:
        with phases.during("measure"):
            clock.now += 5
            raise ValueError("no")

    with phases.during("plan"):
        with pytest.raises(ValueError, match="no"):
            fails()
        clock.now += 1
    assert told == [PhaseDone("plan", 6)]
