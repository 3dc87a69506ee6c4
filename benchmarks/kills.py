"""SIGKILL at random moments, then --resume: the finished run must have the same bytes as one that nothing interrupted.

For each of two recipes (a head on stored features of photographs; a network from scratch on the embedded sample): train once
and keep the recipe with all that was measured; train again from that recipe, uninterrupted, which is the reference; then
begin runs of the same recipe with empty caches, kill each with its whole process group at a moment drawn uniformly from the
reference's duration, kill some of them again after they were resumed, and resume until done. Some kills are aimed: they wait
for a checkpoint that is just being written.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Claim, CommandFailed, Result, ran, say, surroundings
from benchmarks.photographs import draw

CHECKPOINT_SECONDS = 0.2
AIMED = 0.3
"""Share of the kills that wait for a checkpoint being written."""
CHECKPOINTS_PASSED = 6
"""An aimed kill lets fewer than this many checkpoints pass first."""
AGAIN = 0.4
"""Probability that a resumed run is killed once more; drawn anew after each kill."""

WRITTEN = (
    "run.json", "manifest.parquet", "recipe.toml", "held_out.safetensors", "checkpoint.safetensors", "bundle",
    "predictions.parquet", "report.json", "result.json",
)  # fmt: skip
"""What a run writes, in this order."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="photographs for the first recipe; without it some are drawn")
    parser.add_argument("--kills", type=int, default=20, help="killed runs, half of them for each recipe")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")


def run(options: argparse.Namespace) -> list[Result]:
    from sortal.data.embedded import sample_path

    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        work = Path(name)
        photographs = options.data or draw(work / "photographs")
        recipes = [
            Recipe("features", photographs),
            Recipe("scratch", sample_path(), settings=("epochs=3",)),
        ]
        half = [options.kills - options.kills // 2, options.kills // 2]
        return [
            trial(recipe, work / recipe.name, kills=count, seed=options.seed)
            for recipe, count in zip(recipes, half, strict=True)
            if count
        ]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained: data, and the preset and settings of the first run; without a preset it is planned."""

    name: str
    data: Path
    preset: str | None = None
    settings: Sequence[str] = ()

    @property
    def options(self) -> list[str]:
        settings = [word for setting in self.settings for word in ("--set", setting)]
        return [*(["--recipe", self.preset] if self.preset else []), *settings]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: digests of what must be the same."""

    weights: str
    predictions: str


@dataclass
class Killed:
    """One run that was killed, perhaps several times, and finished in the end."""

    kills: list[dict[str, Any]] = field(default_factory=list)
    weights_equal: bool = False
    predictions_equal: bool = False
    left_over: list[str] = field(default_factory=list)
    """Names of unfinished temporary files that the finished run still holds."""

    @property
    def equal(self) -> bool:
        return self.weights_equal and self.predictions_equal


def trial(recipe: Recipe, work: Path, *, kills: int, seed: int) -> Result:
    """Kill and resume one recipe `kills` times and compare every outcome with an uninterrupted run."""
    random = np.random.default_rng([seed, len(recipe.name), *recipe.name.encode()])
    work.mkdir(parents=True)
    ran(_train(recipe.data, work / "planned", *recipe.options), environment=_cache(work / "cache-planned"))
    fixed = ("--recipe", str(work / "planned" / "recipe.toml"))
    done = ran(_train(recipe.data, work / "reference", *fixed), environment=_cache(work / "cache-reference"))
    reference = outcome(work / "reference")
    ran(_train(recipe.data, work / "other", *fixed, "--seed", "1"), environment=_cache(work / "cache-reference"))

    runs = []
    for number in range(kills):
        place = work / f"killed-{number}"
        killed = kill_and_resume(recipe.data, place, fixed, random, duration=done.seconds)
        found = outcome(place)
        killed.weights_equal = found.weights == reference.weights
        killed.predictions_equal = found.predictions == reference.predictions
        killed.left_over = sorted(str(path.relative_to(place)) for path in place.rglob("*.part"))
        runs.append(killed)
        say(f"{recipe.name} {number + 1} of {kills}: {'the same bytes' if killed.equal else 'DIFFERENT'} after {killed.kills}")
    equal = sum(killed.equal for killed in runs)
    all_kills = [kill for killed in runs for kill in killed.kills]
    return Result(
        name=f"kills/{recipe.name}", unit=f"of {kills} killed runs byte-identical", ours=equal,
        numbers={
            "kills": len(all_kills),
            "runs_killed_more_than_once": sum(len(killed.kills) > 1 for killed in runs),
            "kills_while_a_file_was_half_written": sum(bool(kill["half_written"]) for kill in all_kills),
            "weights_identical": sum(killed.weights_equal for killed in runs),
            "predictions_identical": sum(killed.predictions_equal for killed in runs),
            "runs_with_temporary_files_left": sum(bool(killed.left_over) for killed in runs),
            "reference_equals_first_run": outcome(work / "planned") == reference,
            "another_seed_gives_other_bytes": outcome(work / "other").weights != reference.weights,
            "reference_seconds": round(done.seconds, 2),
        },
        runs=[{"kills": killed.kills, "identical": killed.equal, "left_over": killed.left_over} for killed in runs],
        claims=[Claim(f"{kills} of {kills} byte-identical", equal == kills)],
        notes=[f"SHA-256 of weights and of predictions; a checkpoint every {CHECKPOINT_SECONDS:g} s, so that kills meet many"],
    )  # fmt: skip


def kill_and_resume(data: Path, place: Path, fixed: Sequence[str], random: np.random.Generator, *, duration: float) -> Killed:
    """Begin a run, kill it at least once, and resume it until it is done. `duration` is the reference's, in seconds."""
    killed, command = Killed(), _train(data, place, *fixed)
    environment = _cache(place.with_name(f"cache-{place.name}"))
    while not killed.kills or random.random() < AGAIN:
        aimed = int(random.integers(0, CHECKPOINTS_PASSED)) if random.random() < AIMED else None
        moment = random.uniform(0, duration)
        if kill := kill_at(command, environment, place, moment, aimed=aimed):
            killed.kills.append(kill)
        elif killed.kills:
            return killed  # a resumed run that was done before its moment came
        else:  # quicker than the reference: begin it anew, so that every run of the count was killed
            shutil.rmtree(place)
            shutil.rmtree(environment["SORTAL_CACHE"])
        command = _train(data, place, *fixed, *["--resume"] * bool(killed.kills))
    ran(command, environment=environment)
    return killed


def kill_at(
    command: list[str], environment: dict[str, str], place: Path, moment: float, *, aimed: int | None = None
) -> dict[str, Any] | None:
    """Run a command and kill its process group after `moment` seconds; aimed, in a checkpoint after `aimed` others.

    Returns what was killed, or None if the command finished first.
    """
    began = time.perf_counter()
    seen: set[int] = set()
    with tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
            env=surroundings(environment), start_new_session=True,
        )  # fmt: skip
        while process.poll() is None:
            due = time.perf_counter() - began >= moment if aimed is None else _is_writing(place, seen) and len(seen) >= aimed
            if due:
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.005 if aimed is None else 0.0005)  # writing a checkpoint takes some milliseconds
        process.wait()
        if process.returncode == -signal.SIGKILL:
            half = sorted(path.name.split(".")[1] for path in place.glob(".*.part"))
            return {
                "seconds": round(time.perf_counter() - began, 3),
                "aimed": aimed,
                "half_written": half,
                "stage": stage(place),
            }
        if process.returncode:
            err.seek(0)
            raise CommandFailed(f"exit code {process.returncode}: {err.read().decode(errors='replace')[-4000:]}")
    return None


def _is_writing(place: Path, seen: set[int]) -> bool:
    """Whether a checkpoint is being written; `seen` collects those that were written whole, by their times."""
    with contextlib.suppress(FileNotFoundError):
        seen.add((place / "checkpoint.safetensors").stat().st_mtime_ns)
    return any(place.glob(".checkpoint*.part"))


def stage(place: Path) -> str:
    """How far a run had come: the latest of its files that was there."""
    return next((name for name in reversed(WRITTEN) if (place / name).exists()), "nothing written")


def outcome(place: Path) -> Outcome:
    """Digests of a finished run's weights and predictions."""
    weights, predictions = place / "bundle" / "weights.safetensors", place / "predictions.parquet"
    return Outcome(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in (weights, predictions)))


def _train(data: Path, place: Path, *words: str) -> list[str]:
    often = [sys.executable, "-m", "benchmarks.often", str(CHECKPOINT_SECONDS)]
    return [*often, "train", str(data), "--out", str(place), *words, "--json"]


def _cache(folder: Path) -> dict[str, str]:
    return {"SORTAL_CACHE": str(folder)}
