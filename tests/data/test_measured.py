"""What was measured is remembered, but not what was measured in a crowd."""

import os
import time
from pathlib import Path

import pytest

from sortal.data.measured import Bystander, remembered
from sortal.data.store import Cache


@pytest.fixture
def counters(tmp_path: Path) -> Path:
    return tmp_path / "stat"


def count(path: Path, *, busy: float, idle: float) -> None:
    """Write seconds of all cores as Linux does: user, nice, system, idle, waiting for a disk, interrupts, stolen."""
    ticks = os.sysconf("SC_CLK_TCK")
    path.write_text(f"cpu  {int(busy * ticks)} 0 0 {int(idle * ticks)} 0 0 0 0 0 0\ncpu0 1 2 3 4\n")


def test_an_answer_is_measured_once_and_again_where_it_was_not_to_be_kept(tmp_path: Path) -> None:
    cache, asked = Cache(tmp_path), []

    def measure() -> dict[str, int]:
        asked.append(1)
        return {"answer": len(asked)}

    assert remembered(cache, {"q": 1}, measure, keep=lambda: False) == {"answer": 1}
    assert remembered(cache, {"q": 1}, measure) == {"answer": 2}
    assert remembered(cache, {"q": 1}, measure) == {"answer": 2}
    assert remembered(cache, {"q": 2}, measure) == {"answer": 3}


@pytest.mark.parametrize(
    ("others", "idle", "said"),
    [(0.0, 0.0, False), (1.0, 0.0, True), (1.0, 1.0, False), (0.1, 0.0, False)],
    ids=["alone", "crowded", "room for all", "hardly there"],
)
def test_others_are_in_the_way_where_they_work_and_nothing_is_idle(
    counters: Path, others: float, idle: float, said: bool
) -> None:
    count(counters, busy=1000, idle=1000)
    bystander, began, own = Bystander(counters), time.perf_counter(), time.process_time()
    while time.perf_counter() - began < 0.3:
        sum(range(1000))
    wall, own = time.perf_counter() - began, time.process_time() - own
    count(counters, busy=1000 + own + others * wall, idle=1000 + idle * wall)
    assert bystander.in_the_way is said


@pytest.mark.parametrize("text", [None, "", "cpu", "cpu a b c"])
def test_where_nothing_is_counted_nobody_is_in_the_way(counters: Path, text: str | None) -> None:
    if text is not None:
        counters.write_text(text)
    assert not Bystander(counters).in_the_way
