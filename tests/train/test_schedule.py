"""The learning rate's course."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.recipe import Schedule
from sortal.train.schedule import multiplier

SCHEDULES = st.builds(
    Schedule,
    name=st.sampled_from(["constant", "linear", "cosine"]),
    warmup=st.floats(0, 0.9),
    start=st.floats(0, 1),
    floor=st.floats(0, 1),
)


@given(SCHEDULES, st.floats(0, 1))
def test_a_multiplier_never_leaves_the_unit_interval(schedule: Schedule, progress: float) -> None:
    assert -1e-12 <= multiplier(schedule, progress) <= 1 + 1e-12


def test_warm_up_rises_in_a_line_from_its_start_to_one() -> None:
    schedule = Schedule(name="cosine", warmup=0.1, start=0.01)
    assert multiplier(schedule, 0.0) == 0.01
    assert multiplier(schedule, 0.05) == pytest.approx(0.505)
    assert multiplier(schedule, 0.1) == 1.0


@pytest.mark.parametrize(("name", "half"), [("constant", 1.0), ("linear", 0.6), ("cosine", 0.6)])
def test_the_fall_ends_at_the_floor(name: str, half: float) -> None:
    schedule = Schedule(name=name, floor=0.2)  # type: ignore[arg-type]
    assert multiplier(schedule, 0.5) == pytest.approx(half)
    assert multiplier(schedule, 1.0) == pytest.approx(1.0 if name == "constant" else 0.2)
