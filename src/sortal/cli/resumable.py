"""Watching work that can be interrupted: whoever stops it is told how to go on."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sortal.cli.failures import Interrupted
from sortal.events import Begun, Event, Observer, fanout
from sortal.shell import typed


@contextlib.contextmanager
def resumable(out: Path | None, command: str = "train", about: str = "run.json") -> Iterator[Observer]:
    """An observer for one training or study; an interruption leaves as `Interrupted` with the command that continues it.

    `about` is the file in its folder whose presence says that it has begun.
    """
    from sortal.cli.console import watching

    seen = RunSeen(out, command, about)
    try:
        with watching() as observe:
            yield fanout(observe, seen)
    except KeyboardInterrupt as stop:
        raise Interrupted(seen.advice) from stop


class RunSeen:
    """An observer that learns which run is being written."""

    def __init__(self, out: Path | None, command: str = "train", about: str = "run.json") -> None:
        self.path = out
        self.command = command
        self.about = about

    def __call__(self, event: Event) -> None:
        if isinstance(event, Begun):
            self.path = Path(event.path)

    @property
    def advice(self) -> str:
        """How to continue, or nothing where there is nothing to continue."""
        if self.path is None or not (self.path / self.about).exists():
            return ""
        return f"continue with: {typed('sortal', self.command, '--resume', '--out', self.path)}"
