"""A study that is killed, again and again, ends with the table of one that nothing interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness import surroundings
from sortal.run import Run

OFTEN = [sys.executable, "-m", "benchmarks.often", "0.05"]
KILLS = 3
STUDY = """
recipe = "small_compact"
seeds = [0, 1]
[base]
model = "compact_s"
epochs = 6
image_size = 16
batch_size = 8
precision = "float32"
layout = "nchw"
[rows.plain]
augment.flip = 0.0
[rows.mixed]
augment.mixup = 0.4
[images]
val = 16
test = 16
[show]
errors = "chosen"
"""


def start(words: list[object], cache: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*OFTEN, "study", *map(str, words)], env=surroundings({"SORTAL_CACHE": str(cache)}), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def until_begun(process: "subprocess.Popen[bytes]", out: Path) -> float:
    """Wait until the study's folder says that it has begun; the moment."""
    while process.poll() is None and not (out / "asked.json").exists():
        time.sleep(0.01)
    return time.monotonic()


def table(out: Path) -> dict[str, Any]:
    numbers = json.loads((out / "study.json").read_text())
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in numbers["rows"]]
    return {key: value for key, value in numbers.items() if key != "created"} | {"rows": rows}


def killed(file: Path, data: Path, out: Path, cache: Path, random: np.random.Generator, work: float) -> list[str]:
    """Begin the study and kill it at random moments; what was there at each. Fewer than `KILLS` if it was done before."""
    seen = []
    words: list[object] = [file, data, "--out", out]
    for _ in range(KILLS):
        process = start(words, cache)
        known = sorted(out.rglob("*.safetensors"))
        until_begun(process, out)
        while process.poll() is None and sorted(out.rglob("*.safetensors")) == known:
            time.sleep(0.01)  # it does something new each time
        time.sleep(random.uniform(0, work / 5))
        if process.poll() is not None:
            return seen
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        finished = sum(Run(run).finished for run in (out / "runs").iterdir())
        seen.append(f"{finished} runs finished, choice {(out / 'choice.json').exists()}")
        words = ["--out", out, "--resume"]
    return seen


@pytest.mark.slow
def test_a_study_killed_three_times_ends_with_the_same_table(small_pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "killed.toml"
    file.write_text(STUDY)
    whole = start([file, small_pictures, "--out", tmp_path / "whole"], tmp_path / "cache-whole")
    began = until_begun(whole, tmp_path / "whole")
    assert whole.wait() == 0
    work, random = time.monotonic() - began, np.random.default_rng(0)
    for attempt in range(4):
        out, cache = tmp_path / f"killed-{attempt}", tmp_path / f"cache-{attempt}"
        seen = killed(file, small_pictures, out, cache, random, work / 2**attempt)
        if len(seen) == KILLS:
            break
    assert len(seen) == KILLS, seen
    assert not (out / "study.json").exists(), seen
    assert start(["--out", out, "--resume"], cache).wait() == 0
    assert table(out) == table(tmp_path / "whole"), seen
    assert not list(out.rglob("*.part"))
