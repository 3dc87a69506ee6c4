"""What a person sees while work goes on: an observer that draws progress bars and prints decisions, notes and epochs.

All of it goes to standard error. On a terminal each phase has a bar with its speed and the time left; elsewhere, and
after the bar, one plain line a phase remains.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from sortal.cli.plain import printable
from sortal.events import Begun, CheckpointSaved, Decision, EpochDone, Event, Note, Observer, PhaseDone, Progress

# Epochs of a small head take milliseconds: lines nearer together than this could not be read anyway.
SECONDS_BETWEEN_LINES_ON_A_TERMINAL = 1.0
SECONDS_BETWEEN_LINES_ELSEWHERE = 10.0


class PatientConsole(Console):
    """A console that falls silent when nobody reads it any more; watching must never end the work that is watched."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def to_standard_error(stream: TextIO | None = None) -> Console:
    """Where progress goes; colours follow the terminal, and NO_COLOR turns them off. `stream` stands in for tests."""
    stream = stream or sys.stderr
    return PatientConsole(file=stream, highlight=False, soft_wrap=not stream.isatty())


def to_standard_output() -> Console:
    """Where results go: as wide as the terminal, $COLUMNS or 80."""
    return Console(highlight=False)


@contextlib.contextmanager
def watching(stream: TextIO | None = None) -> Iterator[Observer]:
    """An observer for one command; its bars are gone when the block ends, however it ends."""
    screen = Screen(to_standard_error(stream))
    try:
        screen.wait()
        yield screen
    finally:
        screen.close()


class Speed(ProgressColumn):
    """Units a second, over the last half minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{rate(speed)} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


@dataclass
class Phase:
    """One piece of work under way."""

    what: str
    unit: str
    began: float
    first: int
    done: int
    total: int | None
    latest: float
    bar: TaskID | None = None


@dataclass
class Screen:
    """The observer itself: bars for what is under way, lines for what is over."""

    console: Console
    phases: dict[str, Phase] = field(default_factory=dict)
    over: dict[str, int | None] = field(default_factory=dict)
    last_epoch_line: float = float("-inf")

    def __post_init__(self) -> None:
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            Speed(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self.console,
            transient=True,
            # The answer on standard output must not pass through here.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self.console.is_terminal,
        )
        # Between phases, while libraries load and files are written, something must show that work goes on.
        self.waiting = self.console.status("working", spinner="dots")

    def __call__(self, event: Event) -> None:
        match event:
            case Progress():
                self._progress(event)
            case EpochDone():
                self._epoch(event)
            case Decision():
                self._row("", Text.assemble((f"{event.key} = {event.value}", "bold"), ("  " + event.reason, "dim")))
            case Note(severity="warning"):
                self._row("warning:", Text(event.text), style="yellow")
            case Note():
                self._row("note:", Text(event.text), style="cyan")
            case Begun() | CheckpointSaved() | PhaseDone():
                pass  # `Interrupted` names the folder when it matters; what a part took, its own line says

    def close(self) -> None:
        """Take the bars away and say how far unfinished phases came."""
        for phase in list(self.phases.values()):
            self._finish(phase)
        self.bars.stop()
        self.waiting.stop()

    def wait(self) -> None:
        """Show on a terminal that work goes on, until the next phase begins."""
        if self.console.is_terminal:
            self.waiting.start()

    def _progress(self, event: Progress) -> None:
        phase = self.phases.get(event.what)
        if phase is None and event.done == event.total == self.over.get(event.what):
            return  # its end, told twice
        if phase is None or event.done < phase.done:
            if phase:
                self._finish(phase)
            phase = self._begin(event)
        phase.done, phase.total, phase.latest = event.done, event.total, time.monotonic()
        if phase.bar is not None:
            self.bars.update(phase.bar, completed=event.done, total=event.total)
        if event.total is not None and event.done >= event.total:
            self._finish(phase)

    def _begin(self, event: Progress) -> Phase:
        now = time.monotonic()
        phase = Phase(event.what, event.unit, now, event.done, event.done, event.total, now)
        self.phases[event.what] = phase
        if self.console.is_terminal:
            self.waiting.stop()
            self.bars.start()
            phase.bar = self.bars.add_task(printable(event.what), total=event.total, unit=event.unit)
        return phase

    def _finish(self, phase: Phase) -> None:
        del self.phases[phase.what]
        if phase.bar is not None:
            self.bars.remove_task(phase.bar)
            if not self.phases:
                self.bars.stop()
                self.wait()
        self.over[phase.what] = phase.total
        seconds, worked = phase.latest - phase.began, phase.done - phase.first
        if phase.done == 0:
            return
        short = phase.total is not None and phase.done < phase.total
        done = f"{phase.done:,} of {phase.total:,}" if short else f"{phase.done:,}"
        speed = f" ({rate(worked / seconds)} {phase.unit}/s)" if seconds > 0.05 and worked else ""
        self._line(Text(f"{printable(phase.what)}: {done} {phase.unit} in {duration(seconds)}{speed}"))

    def _epoch(self, event: EpochDone) -> None:
        now, last = time.monotonic(), event.epoch == event.epochs
        between = SECONDS_BETWEEN_LINES_ON_A_TERMINAL if self.console.is_terminal else SECONDS_BETWEEN_LINES_ELSEWHERE
        if not last and now - self.last_epoch_line < between:
            return
        self.last_epoch_line = now
        scores = "".join(f"  {name} {value:.3f}" for name, value in event.scores.items())
        speed = f"  {rate(event.images / event.seconds)} images/s" if event.seconds > 0 else ""
        self._line(Text(f"epoch {event.epoch}/{event.epochs}  loss {event.loss:.3f}{scores}{speed}"))

    def _row(self, mark: str, text: Text, *, style: str = "") -> None:
        """A line whose further lines, on a narrow terminal, stand indented."""
        text = Text(" ").join([Text(mark, style=style), text]) if mark else text
        text.plain = printable(text.plain, lines=True)
        if self.console.soft_wrap:
            self._line(text)
            return
        grid = Table.grid()
        for number, line in enumerate(text.wrap(self.console, max(20, self.console.width - 2))):
            grid.add_row(line if number == 0 else Text("  ") + line)
        self._line(grid)

    def _line(self, what: Text | Table) -> None:
        # A full disk or a closed terminal behind standard error is no reason to stop.
        with contextlib.suppress(OSError):
            self.console.print(what)


def rate(speed: float) -> str:
    """Units a second as a person says them.

    >>> rate(12345.6), rate(9.87), rate(0.123)
    ('12,346', '9.9', '0.12')
    """
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}" if speed >= 1 else f"{speed:.2g}"


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(0.04), duration(3.21), duration(75), duration(7300)
    ('40 ms', '3.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
