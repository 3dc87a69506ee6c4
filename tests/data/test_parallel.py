"""Threads that keep the order and do not run ahead."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.data.parallel import ordered, told
from sortal.events import Event, Progress


@given(items=st.lists(st.integers(), max_size=40), workers=st.integers(1, 5))
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int) -> None:
    assert list(ordered(lambda item: item * 2, items, workers)) == [item * 2 for item in items]


def test_order_is_kept_where_the_first_takes_longest() -> None:
    def slow(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item

    assert list(ordered(slow, range(8), 4)) == list(range(8))


def test_at_most_two_items_a_worker_are_taken_before_a_result_is() -> None:
    taken = []

    def items():  # type: ignore[no-untyped-def]
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered(lambda item: item, items(), 3)
    assert taken == []
    next(results)
    assert len(taken) == 6
    results.close()


def test_an_error_comes_up_in_its_place_and_ends_the_work() -> None:
    done = []

    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        done.append(item)
        return item

    results = ordered(work, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(done) < 12


def test_no_thread_is_left_behind_when_the_consumer_stops() -> None:
    before = threading.active_count()
    results = ordered(lambda item: item, range(100), 4)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_progress_is_told_at_the_start_and_at_the_end() -> None:
    events: list[Event] = []
    assert list(told(range(1000), what="decode", total=1000, observe=events.append)) == list(range(1000))
    assert (events[0], events[-1]) == (Progress("decode", 0, 1000), Progress("decode", 1000, 1000))
    assert len(events) < 100
