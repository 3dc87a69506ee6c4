"""What `benchmarks serving` makes of its measurements: peers that are not here, and what an overload really sent."""

import sys
from typing import Any

import pytest

from benchmarks import load, serving


def measured(per_second: float, **more: Any) -> dict[str, Any]:
    return {"per_second": per_second, "p99": 0.5, "statuses": {"200": 9}, **more}


def holding(result: Any) -> dict[str, bool]:
    return {claim.text: claim.holds for claim in result.claims}


def test_the_better_litserve_is_the_peer() -> None:
    told = {"ours": {50: [measured(30), measured(40)]}, "litserve-8": {50: [measured(20)]}, "litserve-1": {50: [measured(10)]}}
    found = serving.compared(told, {}, 50)
    assert (found.ours, found.peer, found.ratio) == (40, 20, 2.0)
    assert holding(found)["1.5 times LitServe's requests a second or more"] is True


def test_without_litserve_there_is_no_ratio_and_the_reason_is_told() -> None:
    found = serving.compared({"ours": {50: [measured(40)]}}, {"litserve-8": "no litserve", "fastapi": "no fastapi"}, 50)
    assert (found.ours, found.peer, found.ratio) == (40, None, None)
    assert list(found.notes[1:]) == ["litserve-8 not run: no litserve", "fastapi not run: no fastapi"]
    assert holding(found) == {"every request of ours was answered": True}


def test_a_package_that_is_missing_and_a_python_that_is_not_there_are_told() -> None:
    assert serving._missing(sys.executable, "json") == ""
    assert "has no no_such_package" in serving._missing(sys.executable, "no_such_package")
    assert serving._missing("/nowhere/python", "json") == "/nowhere/python: No such file or directory"


def test_a_server_that_does_not_start_is_told_with_the_end_of_what_it_said() -> None:
    words = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with pytest.raises(serving.NotStarted, match="no such model"), serving.serving(words, serving.free_port(), 0):
        pass


def test_what_found_no_connection_was_asked_for_and_not_sent() -> None:
    told = [(200, 1.0, 1.0), (503, 2.0, 1.0), (load.CUT, 3.0, 1.0), (load.CLOSED, 3.5, 0.0), (load.CLOSED, 4.0, 0.0)]
    found = load.summary(told, warm=0.0)
    assert (found["answered"], found["sent"], found["seconds"], found["sent_per_second"]) == (1, 3, 4.0, 0.75)


@pytest.mark.parametrize(("sent", "holds"), [(30.0, True), (19.0, False)])
def test_an_overload_that_sent_hardly_more_than_the_peak_is_none(sent: float, holds: bool) -> None:
    found = measured(9.5, sent_per_second=sent, statuses={"0": 70, "200": 9, "503": 21}, refused_p99=0.1)
    result = serving.overloaded(100.0, measured(10.0), found, measured(10.0))
    assert (result.numbers["rate asked for"], result.numbers["rate sent"]) == (100.0, sent)
    assert holding(result).pop("2 times the peak or more was really sent") is holds
    others = {text: held for text, held in holding(result).items() if "really sent" not in text}
    assert set(others.values()) == {True}


@pytest.mark.parametrize("status", ["1", "500"])
def test_whatever_was_sent_and_got_neither_an_answer_nor_a_503_is_told(status: str) -> None:
    found = measured(9.5, sent_per_second=30.0, statuses={"200": 9, status: 1})
    result = serving.overloaded(100.0, measured(10.0), found, measured(10.0))
    assert holding(result)["everything else that was sent got a 503"] is False
