"""Reading ahead: the same pixels, sooner; and a place for them that is chosen by how long somebody waited."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sortal.data import pixels as module
from sortal.data.ahead import ReadAhead
from sortal.data.facts import Facts
from sortal.data.pixels import StoredPixels
from sortal.data.scan import scan
from sortal.data.store import Cache
from sortal.events import Event, Note
from sortal.preprocess import Preprocess

Tree = Callable[..., Path]
ROWS = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5])]


class Recorded:
    """Pixels that know which thread asked for them."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.threads.append(threading.current_thread().name)
        return rows_B.astype(np.uint8)[:, None, None, None]


def test_rows_that_were_announced_are_read_by_a_thread_of_their_own() -> None:
    pixels = Recorded()
    ahead = ReadAhead(pixels)
    ahead.expect(ROWS[1])
    assert ahead.read(ROWS[0]).ravel().tolist() == [0, 1]
    ahead.expect(ROWS[2])
    assert ahead.read(ROWS[1]).ravel().tolist() == [2, 3]
    assert ahead.read(ROWS[2]).ravel().tolist() == [4, 5]
    assert len(pixels.threads) == 3
    assert sum(name.startswith("sortal-ahead") for name in pixels.threads) == 2


def test_rows_in_another_order_than_announced_are_still_the_rows_asked_for() -> None:
    ahead = ReadAhead(Recorded())
    for rows in ROWS:
        ahead.expect(rows)
    for rows in (ROWS[1], ROWS[0], ROWS[2], ROWS[1]):
        assert ahead.read(rows).ravel().tolist() == rows.tolist()


def test_an_error_of_reading_comes_up_where_the_rows_are_asked_for() -> None:
    class Gone:
        def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
            raise OSError("the disk is gone")

    ahead = ReadAhead(Gone())
    ahead.expect(ROWS[0])
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.read(ROWS[0])


@pytest.fixture(params=["disk", "on the fly"])
def slow(
    request: pytest.FixtureRequest, write_tree: Tree, facts: Facts, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[StoredPixels, list[Event]]]:
    """Pixels that are not in memory at first, and what they said."""
    manifest = scan(write_tree("a/1.png", "a/2.png", "b/3.png", "b/4.png"), facts=facts).manifest
    events: list[Event] = []
    monkeypatch.setattr(module, "free_memory", lambda: 0)
    with StoredPixels(manifest, Preprocess(6, 8), Cache(cache.root, 1) if request.param != "disk" else cache) as pixels:
        pixels.fill(events.append)
        assert pixels.where == request.param
        events.clear()
        yield pixels, events


def test_pixels_that_somebody_waited_for_are_held_in_memory_if_half_of_it_will_do(
    slow: tuple[StoredPixels, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, events = slow
    before = pixels.read(np.arange(4))
    monkeypatch.setattr(module, "free_memory", lambda: 2 * before.nbytes)
    pixels.settle(0.25)
    assert pixels.where == "memory"
    (note,) = events
    assert isinstance(note, Note)
    assert "waited for pixels for 25% of an epoch" in note.text
    decoded = pixels.decoded
    np.testing.assert_array_equal(pixels.read(np.arange(4)[::-1]), before[::-1])
    assert pixels.decoded == decoded


def test_they_stay_where_they_are_if_nobody_waited(
    slow: tuple[StoredPixels, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, events = slow
    monkeypatch.setattr(module, "free_memory", lambda: 1 << 40)
    pixels.settle(0.01)
    assert (pixels.where != "memory", events) == (True, [])


def test_without_the_memory_it_is_said_once_what_would_be_quicker(slow: tuple[StoredPixels, list[Event]]) -> None:
    pixels, events = slow
    pixels.settle(0.5)
    pixels.settle(0.5)
    (note,) = events
    assert isinstance(note, Note)
    assert note.severity == "warning"
    assert "would be quicker" in note.text


def test_an_epoch_in_which_reading_took_all_the_time_moves_pixels_to_memory(
    slow: tuple[StoredPixels, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, _ = slow
    monkeypatch.setattr(module, "free_memory", lambda: 1 << 40)
    ahead = ReadAhead(pixels)
    for _ in range(3):
        ahead.read(np.arange(4))
    ahead.epoch_begins()
    assert pixels.where == "memory"
    ahead.expect(np.arange(2))
    assert not ahead._waiting  # in memory there is nothing to fetch
