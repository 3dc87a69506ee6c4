"""The command table, and what is imported for a help page."""

import subprocess
import sys

import pytest

from sortal.cli.main import COMMANDS

HEAVY = {"numpy", "torch", "PIL", "pyarrow", "pydantic", "rich", "onnxruntime", "timm", "matplotlib", "jinja2"}
OPTIONS = {
    "check": ["DATA", "--json", "--max-pixels", "--fix"],
    "train": ["[DATA]", "--recipe", "--set", "--out", "--resume", "--seed", "--json"],
    "evaluate": ["RUN|predictions.parquet", "[DATA]", "--json"],
    "predict": ["RUN", "IMAGE...", "--top", "--format", "table|csv|json|parquet", "--output", "--json"],
    "report": ["RUN", "--edit", "--port", "--json"],
    "models": ["[PATTERN|NAME]", "--measure", "--json"],
    "recipes": ["[NAME]", "--json"],
    "data": ["[NAME]", "--from", "--to", "--json"],
    "cache": ["--clear", "--json"],
    "demo": ["--out", "--json"],
}


def loaded_by(statements: str) -> set[str]:
    """Top-level modules in a fresh interpreter after these statements."""
    code = f"import sys\n{statements}\nprint(*{{name.split('.')[0] for name in sys.modules}}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "words", [["--help"], [], ["--version"], ["completion", "bash"], *([name, "--help"] for name in OPTIONS)]
)
def test_help_loads_no_heavy_library(words: list[str]) -> None:
    assert not HEAVY & loaded_by(f"from sortal.cli.main import main\nassert main({words!r}) == 0")


def test_help_lists_every_command_with_its_line(sortal) -> None:
    outcome = sortal("--help")
    assert outcome.code == 0
    assert outcome.err == ""
    for entry in COMMANDS:
        assert f"  {entry.name}" in outcome.out
        assert entry.about in outcome.out


def test_no_words_at_all_are_answered_with_the_help(sortal) -> None:
    assert sortal() == sortal("--help")


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_every_command_of_the_table_is_there_under_its_name(name: str) -> None:
    assert COMMANDS[name].load().name == name


@pytest.mark.parametrize(("name", "options"), OPTIONS.items())
def test_help_of_a_command_names_what_the_contract_promises(sortal, name: str, options: list[str]) -> None:
    outcome = sortal(name, "--help")
    assert outcome.code == 0
    for option in options:
        assert option in outcome.out


def test_help_fits_80_columns(sortal) -> None:
    for words in ([], *([entry.name] for entry in COMMANDS)):
        assert max(len(line) for line in sortal(*words, "--help").out.splitlines()) <= 80


def test_version_is_the_packages(sortal) -> None:
    assert sortal("--version").out.startswith("sortal 0.")


def test_an_unknown_command_is_a_mistake_that_names_the_nearest(sortal) -> None:
    outcome = sortal("trian", "photos")
    assert outcome.code == 2
    assert "there is no command called 'trian'" in outcome.err
    assert "did you mean 'train'?" in outcome.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_asks_sortal(sortal, shell: str) -> None:
    outcome = sortal("completion", shell)
    assert outcome.code == 0
    assert "_SORTAL_COMPLETE" in outcome.out
    assert f"{shell}_complete" in outcome.out


def test_a_shell_that_asks_gets_commands_and_options(sortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SORTAL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "sortal tr")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert sortal().out == "plain,train\n"
    monkeypatch.setenv("COMP_WORDS", "sortal train --res")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert sortal().out == "plain,--resume\n"
