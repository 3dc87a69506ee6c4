"""What the fault tests share: small folders of pictures, and `sortal train` as a process that can be made to fail."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness import surroundings
from benchmarks.photographs import draw

OFTEN = [sys.executable, "-m", "benchmarks.often", "0.05"]
"""The command `sortal` with a checkpoint at every opportunity."""


@pytest.fixture(scope="session")
def small_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty pictures of 28 pixels in two classes."""
    return draw(tmp_path_factory.mktemp("faults") / "small", each=40, side=28)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of 96 pixels in two classes."""
    return draw(tmp_path_factory.mktemp("faults") / "photographs", each=8, side=96)


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `sortal train` in a process of its own, with a store of its own; `limit` is the largest file that it may write."""

    def run(*words: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
        ulimit = ["prlimit", f"--fsize={limit}"] if limit else []
        environment = surroundings({"SORTAL_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"})
        command = [*ulimit, *OFTEN, "train", *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run
