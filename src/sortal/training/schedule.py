"""Schedules: the learning rate's multiplier as a pure function of progress, which goes from 0 to 1 over the whole training."""

import math
from collections.abc import Callable

from sortal.recipe import Schedule

# Shares such as 0.7 / 0.1 come out a hair below the whole number that they are.
HAIR = 1e-9


def multiplier(schedule: Schedule, progress: float) -> float:
    """What the learning rate is multiplied with when a share `progress` of all steps is done.

    A rise from `start` to 1 over the `warmup` share, along a line ('one_cycle': half a cosine), then the fall of that name.
    'plateau' falls by what the validation split says, which is no function of progress: the loop adds that (`train.fit`).

    >>> multiplier(Schedule(name="cosine"), 0.5)
    0.5
    >>> multiplier(Schedule(name="constant", warmup=0.2, start=0.0), 0.1)
    0.5
    """
    if progress < schedule.warmup:
        done = progress / schedule.warmup
        rise = 1 - _half_cosine(done) if schedule.name == "one_cycle" else done
        return schedule.start + (1 - schedule.start) * rise
    return FALLS[schedule.name](schedule, progress)


def _constant(schedule: Schedule, progress: float) -> float:
    return 1.0


def _linear(schedule: Schedule, progress: float) -> float:
    """
    >>> _linear(Schedule(name="linear", floor=0.5), 0.5)
    0.75
    """
    return schedule.floor + (1 - schedule.floor) * (1 - _rest(schedule, progress))


def _cosine(schedule: Schedule, progress: float) -> float:
    """Half a cosine from 1 to the floor, `restarts` times again; the last fall ends with the training.

    >>> [round(_cosine(Schedule(restarts=1), progress), 3) for progress in (0, 0.25, 0.5, 0.75)]
    [1.0, 0.5, 1.0, 0.5]
    >>> [round(_cosine(Schedule(restarts=1, stretch=3), progress), 3) for progress in (0.125, 0.25, 0.625)]
    [0.5, 1.0, 0.5]
    """
    within = _within_fall(_rest(schedule, progress), schedule.restarts, schedule.stretch)
    return schedule.floor + (1 - schedule.floor) * _half_cosine(within)


def _step(schedule: Schedule, progress: float) -> float:
    """
    >>> [round(_step(Schedule(name="step", every=0.3), progress), 4) for progress in (0.29, 0.3, 0.9)]
    [1.0, 0.1, 0.001]
    """
    return max(schedule.floor, schedule.factor ** math.floor(progress / schedule.every + HAIR))


def _multi_step(schedule: Schedule, progress: float) -> float:
    """
    >>> schedule = Schedule(name="multi_step", milestones=(0.5, 0.75), factor=0.5, floor=0.3)
    >>> [_multi_step(schedule, progress) for progress in (0.4, 0.5, 0.75)]
    [1.0, 0.5, 0.3]
    """
    return max(schedule.floor, schedule.factor ** sum(progress >= milestone - HAIR for milestone in schedule.milestones))


def _rest(schedule: Schedule, progress: float) -> float:
    """The share that is done of what follows the warm-up."""
    return (progress - schedule.warmup) / (1 - schedule.warmup)


def _within_fall(done: float, restarts: int, stretch: float) -> float:
    """The share that is done of the present fall, where each of `restarts` + 1 falls is `stretch` times the one before.

    >>> _within_fall(0.75, restarts=1, stretch=1.0)
    0.5
    """
    lengths = [stretch**number for number in range(restarts + 1)]
    at = done * sum(lengths)
    for length in lengths[:-1]:
        if at < length * (1 - HAIR):
            return at / length
        at -= length
    return min(1.0, max(0.0, at) / lengths[-1])


def _half_cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))


FALLS: dict[str, Callable[[Schedule, float], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "step": _step,
    "multi_step": _multi_step,
    "one_cycle": _cosine,
    "plateau": _constant,
}
