"""What happens while we work, told as small frozen values to whoever observes: a progress bar, a log file, a test.

An observer is a function of one event. Observers never change what happens; whatever changes a training is a recipe field.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` `unit`s of the work called `what`; `total` is None where it is not known."""

    what: str
    done: int
    total: int | None
    unit: str = "images"


@dataclass(frozen=True, slots=True)
class Begun:
    """A run has its folder; from here on it can be resumed."""

    path: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that the tool decided for the user, and why."""

    key: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user should know; `severity` is 'note' or 'warning'."""

    text: str
    severity: str = "note"


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One epoch of training: mean training loss, scores on the validation split if there is one, seconds it took."""

    epoch: int
    epochs: int
    loss: float
    rate: float
    images: int
    seconds: float
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint was written whole and can be resumed from."""

    path: str
    epoch: int
    step: int


@dataclass(frozen=True, slots=True)
class PhaseDone:
    """A part of the work ended that took so many seconds of this process, without those of other parts within it."""

    what: str
    seconds: float


Event = Begun | Progress | Decision | Note | EpochDone | CheckpointSaved | PhaseDone
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The observer that looks away."""


def fanout(*observers: Observer) -> Observer:
    """One observer that tells several, in order."""

    def tell(event: Event) -> None:
        for observer in observers:
            observer(event)

    return tell
