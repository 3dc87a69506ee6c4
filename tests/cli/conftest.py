"""Driving the command line in this process, with workflows that stand in for the real ones."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sortal import workflows
from sortal.cli.main import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def sortal(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """`sortal("train", "photos")` runs that command line."""
    before = signal.getsignal(signal.SIGTERM)

    def run(*words: object) -> Outcome:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, before)


class Calls:
    """Puts a stand-in in a workflow's place and remembers how it was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def answer(self, name: str, result: Any) -> None:
        """Let `workflows.NAME` return `result`, raise it if it is an exception, or call it if it is a function."""

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            self.seen.append((args, kwargs))
            if isinstance(result, BaseException):
                raise result
            return result(*args, **kwargs) if callable(result) else result

        self.monkeypatch.setitem(vars(workflows), name, stand_in)  # without importing the real one


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)
