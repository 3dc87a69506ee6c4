"""Half a minute of each fuzzer; half an hour is for whoever changed what they fuzz (README.md here)."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import ROOT, surroundings

SECONDS = 30


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", "bundles"])
def test_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="pip install atheris")
    pytest.importorskip("onnx", reason="graphs are made with onnx")
    command = [sys.executable, "-m", f"tests.fuzz.{name}", f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, cwd=ROOT, env=surroundings(), capture_output=True, text=True, timeout=SECONDS + 240)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done" in done.stderr
    assert list(tmp_path.iterdir()) == []
