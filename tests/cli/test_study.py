"""`sortal study`: one workflow call, its table, and how to go on after an interruption."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sortal.events import Begun

ROWS: list[dict[str, Any]] = [
    {
        "name": "plain", "set": {}, "chosen": False, "validation": {"mean": 0.7, "interval": [0.6, 0.8]},
        "test": {"mean": 0.71, "interval": [0.65, 0.77], "images": 100}, "to_first": None, "to_previous": None,
        "failures": {}, "seconds": 2.0,
    },
    {
        "name": "[red]mixed", "set": {"augment.mixup": 0.2}, "chosen": True,
        "validation": {"mean": 0.8, "interval": [0.7, 0.9]},
        "test": {"mean": 0.75, "interval": [0.7, 0.8], "images": 100},
        "to_first": {"mean": 0.04, "interval": [-0.01, 0.09], "beyond_noise": False},
        "to_previous": None, "failures": {}, "seconds": 3.0,
    },
    {
        "name": "broken", "set": {}, "chosen": False, "validation": {"mean": None, "interval": None},
        "test": {"mean": None, "interval": None, "images": 0}, "to_first": None, "to_previous": None,
        "failures": {"0": "diverged"}, "seconds": None,
    },
]  # fmt: skip
STUDIED = {"page": "runs/s/study.html", "rows": ROWS}


@pytest.fixture
def study(calls):
    calls.answer("study", SimpleNamespace(to_json=lambda: STUDIED))
    return calls


def test_json_is_exactly_the_result(sortal, study) -> None:
    outcome = sortal("study", "s.toml", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == STUDIED


def test_the_options_go_to_the_workflow(sortal, study) -> None:
    sortal("study", "s.toml", "photos", "--out", "o", "--resume")
    args, kwargs = study.seen[-1]
    kwargs.pop("observe")
    assert args == (Path("s.toml"), Path("photos"))
    assert kwargs == {"out": Path("o"), "resume": True}


def test_the_table_says_what_was_chosen_and_what_may_be_noise(sortal, study, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    out = sortal("study", "s.toml").out
    for said in (
        "plain",
        "[red]mixed",
        "0.750 (0.700 to 0.800)",
        "+4.0 (may be noise)",
        "chosen",
        "failed",
        "runs/s/study.html",
    ):
        assert said in out
    assert "after the choice" in out


def test_a_study_needs_its_file_and_a_resume_its_folder(sortal, study) -> None:
    assert sortal("study").code == 2
    assert sortal("study", "--resume").code == 2
    assert study.seen == []


def test_an_interruption_says_how_to_go_on(sortal, calls, tmp_path: Path) -> None:
    out = tmp_path / "my study"

    def interrupted(*args: Any, observe: Any, **kwargs: Any) -> None:
        out.mkdir()
        (out / "asked.json").touch()
        observe(Begun(str(out)))
        raise KeyboardInterrupt

    calls.answer("study", interrupted)
    outcome = sortal("study", "s.toml")
    assert outcome.code == 130
    assert f"continue with: sortal study --resume --out '{out}'" in outcome.err


def test_an_interruption_before_anything_was_begun_promises_nothing(sortal, calls, tmp_path: Path) -> None:
    calls.answer("study", KeyboardInterrupt())
    outcome = sortal("study", "s.toml", "--out", tmp_path / "none")
    assert outcome.code == 130
    assert "continue" not in outcome.err
