"""`sortal predict`: answers on standard output, errors of single images on standard error."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

GOOD = {"source": "a.jpg", "label": "ants", "probability": 0.75, "top": [{"label": "ants", "probability": 0.75}]}
BAD = {"source": "bad\x1b.jpg", "reason": "empty file"}


@pytest.fixture
def seen(calls) -> list:
    """Lets the model answer GOOD, and BAD for names with 'bad' in them; collects (names, top)."""
    seen: list[tuple[list[str], int]] = []

    def predict_stream(run: Path, images, *, top: int, observe):
        names = list(images)
        seen.append((names, top))
        for name in names:
            yield BAD if "bad" in name else {**GOOD, "source": name}

    calls.answer("predict_stream", predict_stream)
    return seen


def test_a_photograph_gets_a_line_and_zero(sortal, seen) -> None:
    outcome = sortal("predict", "runs/a", "a.jpg")
    assert (outcome.code, outcome.out, outcome.err) == (0, "ants  0.750  a.jpg\n", "")
    assert seen == [(["a.jpg"], 5)]


def test_a_bad_image_has_an_error_line_and_the_rest_are_answered_and_the_code_is_1(sortal, seen) -> None:
    outcome = sortal("predict", "runs/a", "bad.jpg", "a.jpg")
    assert outcome.code == 1
    assert outcome.out == "ants  0.750  a.jpg\n"
    assert outcome.err == "error: bad\\x1b.jpg: empty file\n"


@pytest.mark.parametrize("option", ["--json", "--format=json"])
def test_json_is_one_object_with_predictions_and_errors(sortal, seen, option: str) -> None:
    outcome = sortal("predict", "runs/a", "bad.jpg", "a.jpg", option)
    assert outcome.code == 1
    assert json.loads(outcome.out) == {"predictions": [GOOD], "errors": [BAD]}


def test_top_is_passed_on(sortal, seen) -> None:
    sortal("predict", "runs/a", "a.jpg", "--top", "3")
    assert seen == [(["a.jpg"], 3)]


def test_a_dash_reads_names_from_standard_input(sortal, seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("b.jpg\n\nwith space.jpg\n"))
    assert sortal("predict", "runs/a", "a.jpg", "-").code == 0
    assert seen == [(["a.jpg", "b.jpg", "with space.jpg"], 5)]


def test_output_goes_to_a_file_and_not_to_standard_output(sortal, seen, tmp_path: Path) -> None:
    file = tmp_path / "labels.parquet"
    outcome = sortal("predict", "runs/a", "a.jpg", "--format", "parquet", "-o", file)
    assert (outcome.code, outcome.out) == (0, "")
    assert pq.read_table(file).to_pylist() == [GOOD]


def test_a_prediction_that_fails_leaves_the_old_file_alone(sortal, calls, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("old")

    def predict_stream(*args, **kwargs):
        yield GOOD
        raise MemoryError

    calls.answer("predict_stream", predict_stream)
    assert sortal("predict", "runs/a", "a.jpg", "--format", "csv", "-o", file).code == 3
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_parquet_is_not_sent_to_a_terminal(sortal, seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    outcome = sortal("predict", "runs/a", "a.jpg", "--format", "parquet")
    assert outcome.code == 2
    assert "add --output FILE" in outcome.err


def test_predicting_loads_neither_torch_nor_tables_nor_rich() -> None:
    code = """
import sys
from sortal import workflows
from sortal.cli.main import main
import sortal.workflows.predicting
def stream(run, images, **kwargs):
    yield {"source": "a", "label": "b", "probability": 1.0, "top": []}
vars(workflows)["predict_stream"] = stream
assert main(["predict", "runs/a", "a.jpg"]) == 0
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert not loaded & {"torch", "timm", "pyarrow", "pydantic", "rich", "scipy", "sklearn"}
