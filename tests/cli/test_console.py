"""Watching work go on: lines where no terminal is, bars where one is."""

import io
import re

import pytest

from sortal.cli.console import duration, watching
from sortal.events import CheckpointSaved, Decision, EpochDone, Event, Note, PhaseDone, Progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(*events: Event, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    with watching(stream) as observe:
        for event in events:
            observe(event)
    return stream.getvalue()


def epoch(number: int, epochs: int = 100) -> EpochDone:
    return EpochDone(number, epochs, loss=0.5, rate=0.1, images=200, seconds=0.1, scores={"accuracy": 0.9})


def test_a_phase_leaves_one_plain_line() -> None:
    text = shown(*(Progress("decode", done, 40) for done in range(0, 41, 4)))
    assert re.fullmatch(r"decode: 40 images in \d+ ms\n", text)


def test_an_unfinished_phase_says_how_far_it_came() -> None:
    assert shown(Progress("decode", 0, 40), Progress("decode", 10, 40)).startswith("decode: 10 of 40 images in ")


def test_a_phase_of_unknown_length_says_what_it_did() -> None:
    assert shown(Progress("walk", 7, None, "files")).startswith("walk: 7 files in ")


def test_a_phase_that_had_nothing_to_do_says_nothing() -> None:
    assert shown(Progress("decode", 0, 0)) == ""


def test_the_same_work_done_twice_leaves_two_lines() -> None:
    events = [Progress("view", 0, 2), Progress("view", 2, 2)] * 2
    assert shown(*events).count("view: 2 images") == 2


def test_an_end_that_is_told_twice_leaves_one_line() -> None:
    assert shown(Progress("train", 0, 3), Progress("train", 3, 3), Progress("train", 3, 3)).count("train") == 1


def test_a_terminal_sees_that_work_goes_on_before_and_between_phases() -> None:
    stream = Terminal()
    shown(Note("loading"), stream=stream)
    assert "working" in stream.getvalue()


def test_a_decision_shows_key_value_and_reason() -> None:
    assert shown(Decision("strategy", "features", "244 images")) == "strategy = features  244 images\n"


def test_a_warning_is_called_one() -> None:
    assert shown(Note("2 files were set aside", "warning"), Note("hello")) == "warning: 2 files were set aside\nnote: hello\n"


def test_markup_and_control_characters_in_names_are_only_text() -> None:
    assert shown(Note("[red]a[/].jpg\x1b[2J")) == "note: [red]a[/].jpg\\x1b[2J\n"


def test_a_checkpoint_is_no_news() -> None:
    assert shown(CheckpointSaved("runs/a/checkpoint", 1, 2)) == ""


def test_the_end_of_a_part_is_no_news() -> None:
    assert shown(PhaseDone("scan", 1.5)) == ""


def test_epochs_that_follow_each_other_at_once_are_not_all_told_but_the_last_is() -> None:
    lines = shown(*(epoch(number) for number in range(1, 101))).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/100", "epoch 100/100"]
    assert lines[0] == "epoch 1/100  loss 0.500  accuracy 0.900  2,000 images/s"


def test_a_terminal_sees_a_bar_with_speed_and_time_left_and_it_goes_away() -> None:
    stream = Terminal()
    text = shown(Progress("decode", 0, 4), Progress("decode", 2, 4), Progress("decode", 4, 4), stream=stream)
    assert "━" in text
    assert "0/4" in text
    after = text.rpartition("━")[2]
    assert "\x1b[2K" in after.partition("decode: 4 images in ")[0]


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(Decision("model", "lenet5", "digits"), Note("x", "warning"), stream=Terminal())
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", text)


def test_a_full_disk_behind_standard_error_does_not_end_the_work() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    shown(Note("x"), Progress("decode", 1, 1), epoch(1), stream=Full())


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "40 ms"), (3.21, "3.2 s"), (59.97, "1 min 0 s"), (75, "1 min 15 s"), (3599.9, "1 h 0 min"), (7300, "2 h 1 min")],
)
def test_durations_read_as_a_person_says_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
