"""What a person is told to type comes out of a real shell as it was meant."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sortal.shell import typed

NAMES = [
    "plain",
    "two words",
    "it's",
    'a"b',
    "$HOME",
    "`x`",
    "a;b",
    "a*",
    "~x",
    "a\nb\t\\n'",
    "\x1b[2J",
    "é",
    "a\u202eb",
    "a\udcffb",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_shell_gives_the_name_back(name: str) -> None:
    command = typed("printf", "%s", Path(name), name)
    assert command.isprintable()
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, env={"HOME": "/home/x"})
    assert done.stdout == 2 * os.fsencode(name)


def test_a_path_never_reads_as_an_option_and_an_option_stays_one() -> None:
    assert typed("sortal", "--resume", Path("--out")) == "sortal --resume ./--out"
