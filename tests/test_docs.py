"""The commands and the code in README.md and docs/tutorial.md are run, so that they cannot rot."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sortal.cli.main import program

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/tutorial.md")
EXITS_WITH = re.compile(r"#\s*exits with (\d+)")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """The lines of console blocks that a reader types, in order."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def words(command: str) -> list[str]:
    """The words that sortal gets of a command, also behind a pipe; none if the command is another program's."""
    found = shlex.split(command.rpartition("|")[2], comments=True)
    return found[1:] if found[:1] == ["sortal"] else []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """What the pages assume: a folder photos/ with two classes that differ."""
    rng = np.random.default_rng(0)
    for label, colour in (("ants", 60), ("bees", 190)):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for name in ("one", "two", *(f"img{number}" for number in range(10))):
            pixels = np.clip(rng.normal(colour, 30, (48, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.jpg")
    return tmp_path


def environment(house: Path) -> dict[str, str]:
    """This environment, with our programs first and a cache of its own."""
    programs = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": programs + os.pathsep + os.environ["PATH"], "SORTAL_CACHE": str(house / "cache")}


def test_the_pages_have_commands_to_run() -> None:
    assert len(commands("README.md")) >= 5
    assert len(commands("docs/tutorial.md")) >= 12


@pytest.mark.parametrize(("page", "command"), [(page, command) for page in PAGES for command in commands(page)])
def test_each_command_is_one_that_sortal_or_make_knows(page: str, command: str) -> None:
    if command.startswith("make "):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        return
    name, *rest = words(command)
    found = program.get_command(program.make_context("sortal", [name, *rest]), name)
    assert found is not None
    found.make_context(name, rest)  # raises for options that it does not take


@pytest.mark.parametrize(
    "page",
    [
        *PAGES,
        *(f"docs/{name}.md" for name in ("architecture", "contract", "serving")),
        "docs/studies/README.md",
        "CHANGELOG.md",
    ],
)
def test_links_within_the_project_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_order(page: str, house: Path) -> None:
    for command in commands(page):
        if not words(command):
            continue
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=house, env=environment(house), capture_output=True, text=True
        )
        expected = EXITS_WITH.search(command)
        assert done.returncode == (int(expected[1]) if expected else 0), f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_the_python_of_the_readme_works(house: Path) -> None:
    for code in blocks("README.md", "python"):
        done = subprocess.run([sys.executable, "-c", code], cwd=house, env=environment(house), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "ants" in done.stdout


def test_every_test_that_the_page_on_the_tutorials_names_is_there() -> None:
    page = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9_/]+)::(\w+)`", page))
    missing = []
    for place, name in sorted(named):
        folder, _, module = place.rpartition("/")
        path = ROOT / "tests" / folder / f"test_{module}.py"
        if not path.is_file() or f"def test_{name}(" not in path.read_text(encoding="utf-8"):
            missing.append(f"{place}::{name}")
    assert len(named) > 60
    assert missing == []
