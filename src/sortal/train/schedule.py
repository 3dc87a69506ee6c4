"""Schedules: the learning rate's multiplier as a pure function of progress, which goes from 0 to 1 over the whole training."""

import math

from sortal.recipe import Schedule


def multiplier(schedule: Schedule, progress: float) -> float:
    """What the learning rate is multiplied with when a share `progress` of all steps is done.

    A linear rise from `start` to 1 over the `warmup` share, then a fall to `floor` along half a cosine
    (Loshchilov and Hutter 2017) or a line, or none.

    >>> multiplier(Schedule(name="cosine"), 0.5)
    0.5
    >>> multiplier(Schedule(name="constant", warmup=0.2, start=0.0), 0.1)
    0.5
    """
    if progress < schedule.warmup:
        return schedule.start + (1 - schedule.start) * progress / schedule.warmup
    rest = (progress - schedule.warmup) / (1 - schedule.warmup)
    fall = {"constant": 1.0, "linear": 1 - rest, "cosine": 0.5 * (1 + math.cos(math.pi * rest))}[schedule.name]
    return schedule.floor + (1 - schedule.floor) * fall
