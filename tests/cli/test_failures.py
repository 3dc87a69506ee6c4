"""What goes wrong becomes a message, a hint and one of the contract's exit codes."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sortal.cli.failures import Interrupted, explain
from sortal.errors import BundleError, DataError, MachineFailed, ParityError, RecipeError, RunExists, UnknownName
from sortal.events import Begun


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("no images in photos"), 2),
        (RecipeError(["epocs: unknown key"]), 2),
        (UnknownName("model", "resnet19", ["resnet18"]), 2),
        (RunExists("runs/a already holds another run"), 2),
        (BundleError("runs/a/bundle/model.onnx has changed"), 2),
        (ParityError("labels differ"), 1),
        (MachineFailed("the disk is full"), 3),
        (MemoryError(), 3),
        (OSError(errno.ENOSPC, "No space left on device", "runs/a"), 3),
        (OSError(errno.EIO, "Input/output error", "runs/a"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "secret"), 2),
        (KeyboardInterrupt(), 130),
        (click.UsageError("no"), 2),
        (ZeroDivisionError("division by zero"), 3),
    ],
)
def test_each_error_has_the_contracts_exit_code(sortal, calls, error: BaseException, code: int) -> None:
    calls.answer("check", error)
    assert sortal("check", "photos").code == code


def test_an_error_of_ours_is_a_line_and_a_hint_and_no_traceback(sortal, calls) -> None:
    calls.answer("check", DataError("photos holds no images", hint="name the folder that holds one folder for each class"))
    outcome = sortal("check", "photos")
    assert outcome.out == ""
    assert outcome.err == "error: photos holds no images\nhint: name the folder that holds one folder for each class\n"


def test_all_problems_of_a_recipe_stand_on_lines_of_their_own(sortal, calls) -> None:
    calls.answer("train", RecipeError(["epocs: unknown key", "seed: expected a whole number, got 'x'"], place="a.toml"))
    assert sortal("train", "photos").err.splitlines()[:3] == [
        "error: a.toml has problems:",
        "  epocs: unknown key",
        "  seed: expected a whole number, got 'x'",
    ]


def test_a_bug_shows_its_traceback_and_asks_for_a_report(sortal, calls) -> None:
    calls.answer("check", ZeroDivisionError("division by zero"))
    outcome = sortal("check", "photos")
    assert "Traceback" in outcome.err
    assert "error: ZeroDivisionError: division by zero" in outcome.err
    assert "bug in sortal" in outcome.err


def test_a_file_that_vanished_inside_the_program_counts_as_a_bug(sortal) -> None:
    assert explain(FileNotFoundError(errno.ENOENT, "No such file", "x")).is_bug


@pytest.mark.parametrize(("module", "extra"), [("safetensors", "torch"), ("torch.nn", "torch"), ("matplotlib", "report")])
def test_a_library_of_an_extra_that_is_missing_names_the_extra(sortal, calls, module: str, extra: str) -> None:
    calls.answer("train", ModuleNotFoundError(f"No module named {module!r}", name=module))
    outcome = sortal("train", "photos")
    assert outcome.code == 2
    assert outcome.err == f'error: {module.partition(".")[0]} is not installed\nhint: pip install "sortal[{extra}]"\n'


def test_a_module_that_no_extra_brings_counts_as_a_bug() -> None:
    assert explain(ModuleNotFoundError("No module named 'sortal.nix'", name="sortal.nix")).is_bug


def test_a_hostile_file_name_in_an_error_cannot_steer_the_terminal(sortal, calls) -> None:
    calls.answer("check", DataError("\x1b[2J.jpg is empty"))
    assert "\x1b" not in sortal("check", "photos").err


def test_with_json_an_error_is_one_object_on_standard_output(sortal, calls) -> None:
    calls.answer("check", DataError("photos holds no images", hint="add some"))
    outcome = sortal("check", "photos", "--json")
    assert json.loads(outcome.out) == {"error": "photos holds no images", "hint": "add some"}
    assert outcome.err.startswith("error: photos holds no images")


@pytest.mark.parametrize(
    "words", [["train", "--json"], ["check", "--json"], ["check", "x", "--json", "--bogus"], ["chekc", "--json"]]
)
def test_with_json_a_mistaken_command_line_is_one_object_too(sortal, words: list[str]) -> None:
    outcome = sortal(*words)
    assert outcome.code == 2
    assert set(json.loads(outcome.out)) == {"error", "hint"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train"], "DATA is missing"),
        (["train", "--resume"], "--resume needs --out RUN"),
        (["train", "photos", "--seed", "-1"], "-1 is not in the range"),
        (["train", "photos", "--epochs", "3"], "No such option"),
        (["predict", "runs/a"], "Missing argument 'IMAGE...'"),
        (["predict", "runs/a", "x.jpg", "--top", "0"], "0 is not in the range"),
        (["predict", "runs/a", "x.jpg", "--format", "xml"], "'xml' is not one of"),
        (["predict", "runs/a", "x.jpg", "--json", "--format", "csv"], "--json prints one JSON object"),
        (["predict", "runs/a", "x.jpg", "--json", "-o", "a.json"], "--json prints one JSON object"),
        (["data", "--to", "x.parquet"], "need the NAME"),
        (["data", "cifar-100", "--labels", "fine"], "--labels needs --from or --to"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["--bogus"], "No such option"),
    ],
)
def test_a_mistaken_command_line_exits_with_2_and_says_what_and_where_to_look(sortal, words: list[str], said: str) -> None:
    outcome = sortal(*words)
    assert outcome.code == 2
    assert said in outcome.err
    assert "--help` says what it takes" in outcome.err


def test_an_interrupted_training_says_how_to_go_on(sortal, calls, tmp_path: Path) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    (run / "run.json").touch()

    def train(*args: object, observe, **kwargs: object) -> None:
        observe(Begun(str(run)))
        raise KeyboardInterrupt

    calls.answer("train", train)
    outcome = sortal("train", "photos")
    assert outcome.code == 130
    assert outcome.err == f"error: interrupted\nhint: continue with: sortal train --resume --out '{run}'\n"


def test_a_training_interrupted_before_it_began_promises_nothing(sortal, calls, tmp_path: Path) -> None:
    calls.answer("train", KeyboardInterrupt())
    outcome = sortal("train", "photos", "--out", tmp_path / "new")
    assert outcome.code == 130
    assert outcome.err == "error: interrupted\n"


def test_sigterm_interrupts_like_ctrl_c(sortal, calls) -> None:
    calls.answer("check", lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGTERM))
    assert sortal("check", "photos").code == 130


def test_the_advice_of_an_interruption_becomes_the_hint() -> None:
    assert explain(Interrupted("continue with: x")).hint == "continue with: x"


def test_a_reader_that_leaves_early_gets_no_complaint() -> None:
    code = "import sys; from sortal.cli.main import main; sys.exit(main(['data', '--json']))"
    command = f'"{sys.executable}" -c "{code}" | true; exit ${{PIPESTATUS[0]}}'
    # Hold the writer back until the reader is gone.
    done = subprocess.run(
        ["bash", "-c", command.replace(' -c "', ' -c "import time; time.sleep(0.3); ', 1)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == ""


def test_a_training_goes_on_when_nobody_watches_any_more() -> None:
    code = """
import sys, time
from sortal import workflows
from sortal.cli.main import main
from sortal.events import Note
class Trained:
    def to_json(self): return {"run": "r"}
def train(*args, observe, **kwargs):
    time.sleep(0.3)
    for number in range(3): observe(Note("x" * 100_000))
    return Trained()
workflows.train = train
sys.exit(main(["train", "photos", "--json"]))
"""
    command = f"{{ '{sys.executable}' -c '{code}' 2>&1 1>&3 | true; exit ${{PIPESTATUS[0]}}; }} 3>&1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert json.loads(done.stdout) == {"run": "r"}
    assert done.returncode == 0
