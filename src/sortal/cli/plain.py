"""Plain text on a terminal: what needs no library, for commands that must start at once."""

import contextlib
import json
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from sortal.events import Event, Observer, Progress, ignore


def printable(text: str, *, lines: bool = False) -> str:
    """The text with control characters and undecodable bytes spelt out: a file's name must not steer a terminal.

    With `lines`, line ends stay.

    >>> printable("a\\x1b[2Jb.jpg")
    'a\\\\x1b[2Jb.jpg'
    """
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or (lines and mark == "\n") else _spelt(mark) for mark in text)


def _spelt(mark: str) -> str:
    # Category Z but for line ends are spaces of all widths; they do no harm.
    harmless = unicodedata.category(mark) == "Zs"
    return mark if harmless else mark.encode("unicode_escape").decode()


def counter() -> Observer:
    """An observer that counts on one line of standard error, with images a second; silent where that is no terminal."""
    if not sys.stderr.isatty():
        return ignore
    began = time.monotonic()

    def count(event: Event) -> None:
        if isinstance(event, Progress):
            speed = event.done / max(1e-3, time.monotonic() - began)
            # Back to the start of the line and clear it, so that whatever is written next overwrites the count.
            sys.stderr.write(f"{event.done:,} {event.unit}, {speed:,.0f}/s\x1b[K\r")
            sys.stderr.flush()

    return count


def json_text(values: Mapping[str, Any]) -> str:
    """One JSON object, in ASCII so that every terminal and pipe can carry every file's name."""
    return json.dumps(values, indent=2, allow_nan=False)


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json_text(values))


@contextlib.contextmanager
def standard_output_kept_for_the_answer() -> Iterator[None]:
    """Send what libraries print on standard output to standard error, so that the answer stands alone on the former."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
