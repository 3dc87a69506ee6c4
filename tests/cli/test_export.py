"""`sortal export` is one workflow call; what it measured is a table or one JSON object."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sortal.errors import ParityError, RunExists
from sortal.exports import KINDS

EXPORTED = {
    "path": "runs/a/exports/onnx-int8",
    "kind": "onnx",
    "precision": "int8",
    "parity": {
        "split": "val", "images": 153, "max_difference": 0.0691, "flips": 1, "accuracy": 0.9412, "accuracy_source": 0.9477,
        "accuracy_change": {"mean": -0.0065, "interval": [-0.0194, 0.0064]}, "images_per_second": 88.3,
        "images_per_second_source": 40.7, "bytes": 4_073_594, "bytes_source": 13_541_104, "tolerance": None, "max_loss": 1.0,
        "classes": [],
    },
}  # fmt: skip


@pytest.fixture
def workflow(calls: Any) -> Any:
    calls.answer("export", SimpleNamespace(to_json=lambda: EXPORTED))
    return calls


def test_every_option_reaches_the_workflow(sortal: Any, workflow: Any) -> None:
    words = ["--to", "onnx", "--precision", "int8", "--out", "o", "--data", "d", "--max-loss", "1", "--licence", "MIT"]
    outcome = sortal("export", "runs/a", *words, "--runtime", "r.tgz", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == EXPORTED
    ((args, told),) = workflow.seen
    told.pop("observe")
    assert args == (Path("runs/a"),)
    assert told == {
        "to": "onnx", "precision": "int8", "out": Path("o"), "data": Path("d"), "max_loss": 1.0, "licence": "MIT",
        "runtime": Path("r.tgz"),
    }  # fmt: skip


def test_a_person_sees_both_beside_each_other_and_where_the_export_is(sortal: Any, workflow: Any) -> None:
    outcome = sortal("export", "runs/a", "--to", "onnx")
    assert outcome.code == 0
    for text in ("onnx, int8", "the bundle", "0.9412", "0.9477", "4.1 MB", "13.5 MB", "1 other labels", "-1.94 to +0.64"):
        assert text in outcome.out
    assert "runs/a/exports/onnx-int8" in outcome.out


def test_without_a_kind_nothing_is_done(sortal: Any, workflow: Any) -> None:
    outcome = sortal("export", "runs/a")
    assert outcome.code == 2
    assert "--to KIND is missing" in outcome.err
    assert workflow.seen == []


@pytest.mark.parametrize(("error", "code"), [(ParityError("it suffered in bees"), 1), (RunExists("o is there already"), 2)])
def test_an_export_that_is_refused_says_so_with_its_exit_code(sortal: Any, calls: Any, error: Exception, code: int) -> None:
    calls.answer("export", error)
    outcome = sortal("export", "runs/a", "--to", "onnx", "--json")
    assert outcome.code == code
    assert json.loads(outcome.out)["error"] == str(error)


def test_the_help_names_every_kind(sortal: Any) -> None:
    outcome = sortal("export", "--help")
    assert all(entry.name in outcome.out for entry in KINDS)
