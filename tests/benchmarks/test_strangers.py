"""Exports opened without sortal: what a program says, what is not run and why, and what is claimed of it."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import exports, strangers
from benchmarks.harness import CommandFailed
from benchmarks.strangers import NotRun, Runtimes, opened, told

SAYS = """
import json, sys
for name in sys.argv[1:]:
    print(json.dumps({"source": name, "said": ["red", "blue"] if name.endswith("0.png") else [None]}))
"""


def test_labels_are_told_without_an_order_and_silence_as_none() -> None:
    assert told(["b", "a"]) == told(["a", "b"]) == ("a", "b")
    assert told([None]) == told([]) == ()


def test_what_an_exports_own_program_says_is_taken_by_the_names_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(SAYS)
    found = opened("onnx", tmp_path, [Path("/photographs/0.png"), Path("/photographs/1.png")], Runtimes())
    assert found.said == {"0.png": ("blue", "red"), "1.png": ()}
    assert found.by.startswith("onnxruntime ")


def test_a_program_that_leans_on_sortal_fails(tmp_path: Path) -> None:
    (tmp_path / "preprocess.py").write_text("from sortal.errors import SortalError\n")
    (tmp_path / "example.py").write_text("import preprocess\n")
    with pytest.raises(CommandFailed, match=r"No module named 'sortal"):
        opened("onnx", tmp_path, [], Runtimes())


@pytest.mark.parametrize(
    ("kind", "option"),
    [("torchscript", "--bare"), ("torch-export", "--bare"), ("litert", "--litert"), ("torchserve", "--torchserve")],
)
def test_what_no_environment_is_named_for_is_not_run_and_the_option_is_told(tmp_path: Path, kind: str, option: str) -> None:
    with pytest.raises(NotRun, match=option):
        opened(kind, tmp_path, [], Runtimes())


def test_a_python_that_is_not_there_or_lacks_the_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotRun, match="has no torch"):
        opened("torchscript", tmp_path, [], Runtimes(bare=tmp_path / "python"))
    monkeypatch.setitem(strangers.OPENERS, "onnx", strangers._here("no-such-package-of-anybody"))
    with pytest.raises(NotRun, match="has no no-such-package-of-anybody"):
        opened("onnx", tmp_path, [], Runtimes())


def test_files_that_are_not_read_elsewhere_are_no_flips() -> None:
    expected = {"0.png": ("a",), "1.png": ("b",), "2.png": (), "3.png": ("a",)}
    said = {"0.png": ("a",), "1.png": ("a",), "2.png": ("b",)}
    assert exports.agreement(said, expected) == {"images": 4, "unread": 1, "flips": 2}


def row(opened: dict[str, Any]) -> dict[str, Any]:
    return {"flips": 0, "opened": opened}


def holding(rows: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Claims about what was opened without sortal."""
    return {claim.text: claim.holds for claim in exports._claims(rows, [], "a network") if "without sortal" in claim.text}


def test_what_was_not_run_is_claimed_nothing_of() -> None:
    assert holding({"onnx float32": row({"not run": "nothing here"})}) == {}


def test_labels_are_claimed_of_kinds_in_float32_whose_pixels_are_pillows() -> None:
    same = row({"by": "x", "images": 9, "unread": 0, "flips": 0})
    other = row({"by": "x", "images": 9, "unread": 0, "flips": 1})
    rows = {"onnx float32": same, "onnx int8": other, "web float32": other, "litert float32": row({"not run": "x"})}
    text = "without sortal, 1 kinds in float32 say the bundle's labels of 9 files"
    assert holding(rows) == {"3 exports opened without sortal": True, text: True}
    assert holding({**rows, "onnx float32": other})[text] is False
    assert holding({**rows, "onnx float32": row({"by": "x", "images": 9, "unread": 1, "flips": 0})})[text] is False


def test_an_export_that_fails_elsewhere_is_a_claim_that_does_not_hold() -> None:
    assert holding({"onnx float32": row({"failed": "no such operator"})}) == {"1 exports opened without sortal": False}


def test_every_kind_that_is_exported_has_a_way_to_be_opened() -> None:
    assert {kind for kind, _ in exports.KINDS} == set(strangers.OPENERS)
