"""The learning rate's course, ours beside torch's at equal parameters."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from sortal import recipe as recipes
from sortal.errors import RecipeError
from sortal.recipe import Schedule
from sortal.training.schedule import multiplier

STEPS = 120
NAMES = ["constant", "linear", "cosine", "step", "multi_step", "one_cycle", "plateau"]


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    name = draw(st.sampled_from(NAMES))
    values: dict[str, Any] = {"name": name, "start": draw(st.floats(0, 1)), "warmup": draw(st.floats(0.01, 0.25))}
    if name != "constant":
        values["floor"] = draw(st.floats(0, 1))
    if name == "cosine":
        values["restarts"] = draw(st.integers(0, 5))
        values["stretch"] = draw(st.floats(1, 3)) if values["restarts"] else 1.0
    return Schedule(**values)


@given(schedules(), st.floats(0, 1))
def test_a_multiplier_never_leaves_the_unit_interval(schedule: Schedule, progress: float) -> None:
    assert -1e-12 <= multiplier(schedule, progress) <= 1 + 1e-12


@given(schedules(), st.floats(0, 1))
def test_after_the_warm_up_a_multiplier_never_falls_below_its_floor(schedule: Schedule, progress: float) -> None:
    assert progress < schedule.warmup or multiplier(schedule, progress) >= schedule.floor - 1e-12


def test_warm_up_rises_in_a_line_from_its_start_to_one() -> None:
    schedule = Schedule(name="cosine", warmup=0.1, start=0.01)
    assert multiplier(schedule, 0.0) == 0.01
    assert multiplier(schedule, 0.05) == pytest.approx(0.505)
    assert multiplier(schedule, 0.1) == 1.0


@pytest.mark.parametrize(("name", "half"), [("linear", 0.6), ("cosine", 0.6)])
def test_the_fall_ends_at_the_floor(name: str, half: float) -> None:
    schedule = Schedule(name=name, floor=0.2)  # type: ignore[arg-type]
    assert multiplier(schedule, 0.5) == pytest.approx(half)
    assert multiplier(schedule, 1.0) == pytest.approx(0.2)


def test_a_constant_rate_stays() -> None:
    assert {multiplier(Schedule(name="constant"), progress) for progress in (0.0, 0.3, 1.0)} == {1.0}


def torchs(make: Callable[[torch.optim.Optimizer], Any], steps: int) -> list[float]:
    """The rates, relative to 1, that a scheduler of torch's gives to steps 0 to `steps`."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


# torch counts the points of a cycle, ours the steps between them: so its peak lies at pct_start * total_steps - 1.
ONE_CYCLE = {"total_steps": STEPS + 1, "pct_start": (0.3 * STEPS + 1) / (STEPS + 1), "cycle_momentum": False}
REFERENCES: list[tuple[Schedule, Callable[[torch.optim.Optimizer], Any], int]] = [
    (Schedule(name="linear", floor=0.1), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, STEPS), STEPS),
    (Schedule(name="cosine", floor=0.05), lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.05), STEPS),
    (
        Schedule(name="cosine", floor=0.05, restarts=3),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, STEPS // 4, eta_min=0.05),
        STEPS - 1,
    ),
    (
        Schedule(name="cosine", floor=0.01, restarts=3, stretch=2.0),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, STEPS // 15, T_mult=2, eta_min=0.01),
        STEPS - 1,
    ),
    (Schedule(name="step", every=0.1, factor=0.5), lambda o: lr_scheduler.StepLR(o, STEPS // 10, gamma=0.5), STEPS),
    (
        Schedule(name="multi_step", milestones=(0.3, 0.7, 0.9), factor=0.2),
        lambda o: lr_scheduler.MultiStepLR(o, [36, 84, 108], gamma=0.2),
        STEPS,
    ),
    (
        Schedule(name="cosine", warmup=0.1, start=0.01, floor=1e-3),
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, start_factor=0.01, total_iters=STEPS // 10),
                lr_scheduler.CosineAnnealingLR(o, STEPS - STEPS // 10, eta_min=1e-3),
            ],
            milestones=[STEPS // 10],
        ),
        STEPS,
    ),
    (
        Schedule(name="one_cycle", warmup=0.3, start=1 / 25, floor=1 / 25 / 1e4),
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, **ONE_CYCLE, div_factor=25.0, final_div_factor=1e4),
        STEPS - 1,
    ),
]


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")  # torch's SequentialLR calls its own parts so
@pytest.mark.parametrize(("schedule", "make", "steps"), REFERENCES, ids=lambda value: getattr(value, "name", ""))
def test_a_schedule_is_torchs_at_equal_parameters(
    schedule: Schedule, make: Callable[[torch.optim.Optimizer], Any], steps: int
) -> None:
    ours = [multiplier(schedule, step / STEPS) for step in range(steps + 1)]
    np.testing.assert_allclose(ours, torchs(make, steps), rtol=1e-9, atol=1e-12)


def test_the_lowest_rate_of_falling_steps_is_the_floor() -> None:
    assert multiplier(Schedule(name="step", every=0.1, floor=0.02), 0.9) == 0.02
    assert multiplier(Schedule(name="multi_step", floor=0.02), 0.9) == 0.02


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"name": "cosine", "factor": 0.5},
            "factor is for step and multi_step and plateau, got name = 'cosine': leave it at 0.1",
        ),
        ({"name": "linear", "restarts": 2}, "restarts is for cosine"),
        ({"name": "step", "milestones": [0.2]}, "milestones is for multi_step"),
        ({"name": "step", "patience": 5}, "patience is for plateau"),
        ({"name": "constant", "floor": 0.1}, "a constant one does not"),
        ({"name": "one_cycle"}, "set warmup, to 0.3"),
        ({"name": "multi_step", "milestones": [0.7, 0.5]}, r"milestones must rise.*\[0.7, 0.5\]"),
        ({"name": "multi_step", "milestones": []}, "milestones must rise"),
        ({"name": "multi_step", "milestones": [30]}, "milestones.0"),
        ({"name": "cosine", "stretch": 2.0}, "set restarts"),
        ({"name": "step", "every": 0.1, "warmup": 0.2}, "would fall at 0.1 while it still rises"),
        ({"name": "plateau", "monitor": "loss"}, "'log_loss', 'macro_f1' or 'mean_average_precision'"),
    ],
)
def test_words_that_do_not_go_together_are_refused_with_the_cure(values: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipes.parse({"schedule": values})
