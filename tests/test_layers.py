"""Who may import whom: the contracts of import-linter in pyproject.toml hold."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="a tool of the development set-up")


def test_the_layers_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
