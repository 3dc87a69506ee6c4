"""A stream that is read at random: once through where the readers go forwards, and right in any case."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.data import forwards
from sortal.data.forwards import Forwards
from sortal.errors import UnreadableImage


class Stream:
    """Twenty members of ten bytes, which can be started at every `step`-th."""

    def __init__(self, step: int = 100, fail_at: int | None = None) -> None:
        self.step = step
        self.fail_at = fail_at
        self.starts: list[int] = []
        self.steps = 0

    def forwards(self) -> Forwards:
        return Forwards(self.start, lambda number: number // self.step * self.step)

    def start(self, first: int) -> Iterator[tuple[int, bytes]]:
        self.starts.append(first)
        for number in range(first, 20):
            if number == self.fail_at:
                self.fail_at = None
                raise EOFError("cut short")
            self.steps += 1
            yield number, member(number)


def member(number: int) -> bytes:
    return bytes([number]) * 10


@given(order=st.lists(st.integers(0, 19), max_size=30), step=st.integers(1, 30), kept=st.integers(0, 100))
def test_any_order_gives_the_right_members(order: list[int], step: int, kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forwards, "KEPT_BYTES", kept)
        stream = Stream(step).forwards()
        assert [stream.read(number) for number in order] == [member(number) for number in order]


def test_reading_forwards_or_a_little_behind_goes_through_once() -> None:
    stream = Stream()
    reader = stream.forwards()
    for number in (0, 2, 1, 5, 4, 3, 19, 6):
        reader.read(number)
    assert (stream.starts, stream.steps) == ([0], 20)


def test_a_reader_far_ahead_starts_at_the_nearest_place() -> None:
    stream = Stream(step=5)
    reader = stream.forwards()
    reader.read(0)
    reader.read(12)
    assert (stream.starts, stream.steps) == ([0, 10], 4)


def test_what_is_held_is_bounded_and_gone_after_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards, "KEPT_BYTES", 35)
    stream = Stream()
    reader = stream.forwards()
    for number in range(20):
        reader.read(number)
        assert reader.kept_bytes <= 35
    reader.read(18)
    assert stream.starts == [0]
    reader.read(0)
    assert stream.starts == [0, 0]
    reader.close()
    assert reader.kept_bytes == 0


def test_a_stream_that_failed_is_started_again() -> None:
    stream = Stream(fail_at=3)
    reader = stream.forwards()
    with pytest.raises(EOFError):
        reader.read(5)
    assert reader.read(5) == member(5)


def test_a_member_that_is_not_in_the_stream_is_a_reason() -> None:
    with pytest.raises(UnreadableImage):
        Stream().forwards().read(20)
