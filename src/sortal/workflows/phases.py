"""Phases: how many seconds each part of a piece of work took, told as it ends and kept for the result."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sortal.events import Observer, PhaseDone


@dataclass
class Phases:
    """A clock for the parts of one piece of work in this process; no second counts for two parts.

    >>> ticks = iter([0.0, 1.0, 4.0, 9.0])
    >>> told = []
    >>> phases = Phases(told.append, clock=lambda: next(ticks))
    >>> with phases.during("scan"):
    ...     with phases.during("load"):
    ...         pass
    >>> phases.seconds
    {'load': 3.0, 'scan': 6.0}
    """

    observe: Observer
    clock: Callable[[], float] = time.monotonic
    seconds: dict[str, float] = field(default_factory=dict)
    """By part, in the order in which they ended."""
    _inside: list[float] = field(default_factory=list)
    """For each part under way, the seconds that belong to parts within it."""

    @contextlib.contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Time a part; what a part within it takes is that part's own. One that fails is not told, and its time stays with
        the part around it.
        """
        began = self.clock()
        self._inside.append(0.0)
        try:
            yield
        except BaseException:
            self._inside.pop()
            raise
        took, inside = self.clock() - began, self._inside.pop()
        self._ended(what, took, took - inside)

    def of_which(self, what: str, seconds: float) -> None:
        """Say that so many seconds of the part under way were another's: of work that is mixed with it and times itself."""
        self._ended(what, seconds, seconds)

    def _ended(self, what: str, took: float, own: float) -> None:
        if self._inside:
            self._inside[-1] += took
        self.seconds[what] = self.seconds.get(what, 0.0) + own
        self.observe(PhaseDone(what, own))
