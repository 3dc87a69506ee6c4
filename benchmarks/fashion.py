"""Fashion-MNIST, nothing else said, beside the seeds' SimpleCNN as the seeds train it: time to a test accuracy of 0.92.

Ours is the whole command `sortal train`, from its start to the finished report, and counts only if its one look at the test
split reaches the target. The peer is stopped after the first epoch in which its test accuracy reaches the target, which
flatters it: it looks at the test split in every epoch and pays for no bundle and no report. Times are measured to the end,
never extrapolated: of a peer that `--limit` stops before it got there, only that the ratio is at least so much can be said.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim, Ran, Result, peer, ran, sortal, times_faster

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TARGET = 0.92
PROMISED = 0.93
SHORT = ("epochs=4",)
"""A shorter recipe, named here before it was ever scored on the test split: the plan's own but for its epochs."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=DEBIAN, help=f"folder with the four idx.gz files; default: {DEBIAN}")
    parser.add_argument("--limit", type=float, default=4 * 3600, help="the peer begins no epoch after so many seconds")
    parser.add_argument("--no-short", action="store_true", help="leave the shorter recipe out")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out; no ratio then")


def run(options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="fashion-") as name:
        work = Path(name)
        table = work / "fashion.parquet"
        made = ran(sortal("data", "fashion-mnist", "--from", options.data, "--to", table, "--json"))
        ours = {"fashion": _ours(table, work, "run")}
        if not options.no_short:
            ours["fashion/short"] = _ours(table, work, "short", *SHORT)
        cnn = None
        if not options.no_peer:
            cnn = ran(peer("simple_cnn", "--data", options.data, "--target", TARGET, "--limit", options.limit))
    return [compared(name, made, done, cnn) for name, done in ours.items()]


def _ours(table: Path, work: Path, name: str, *settings: str) -> Ran:
    """The whole command, from a cache of its own that is empty."""
    words = [word for setting in settings for word in ("--set", setting)]
    command = sortal("train", table, *words, "--out", work / name, "--json")
    return ran(command, environment={"SORTAL_CACHE": str(work / f"cache-{name}")})


def compared(name: str, made: Ran, ours: Ran, cnn: Ran | None) -> Result:
    """Ours against the peer; there is a ratio only if both reached the target."""
    answer = ours.answer()
    metrics = answer["metrics"]["test"]
    accuracy = {"ours": metrics["accuracy"]}
    numbers: dict[str, Any] = {
        "ours_interval": metrics["accuracy_interval"], "ours_seconds": answer["seconds"],
        "images_per_second": answer["work"]["images_per_second"], "reading_the_official_files_seconds": round(made.seconds, 2),
    }  # fmt: skip
    claims = [] if name.endswith("short") else [Claim(f"at least {PROMISED:g} on test", metrics["accuracy"] >= PROMISED)]
    runs, seconds, ratio = [made.facts(), ours.facts()], None, None
    if cnn is not None:
        epochs = cnn.lines()
        reached = first_reaching(epochs, TARGET)
        accuracy["peer"] = epochs[-1]["accuracy"] if epochs else 0.0
        numbers["peer_epochs"] = [
            (line["epoch"], round(line["accuracy"], 4), round(line["seconds_so_far"], 1)) for line in epochs
        ]
        numbers["peer_reached_target"] = reached is not None
        runs.append(cnn.facts())
        if reached is not None and metrics["accuracy"] >= TARGET:
            seconds = cnn.seconds
            ratio = times_faster(ours.seconds, seconds)
        elif reached is None and metrics["accuracy"] >= TARGET:
            numbers["ratio_at_least"] = round(times_faster(ours.seconds, cnn.seconds), 2)
    return Result(
        name=name, unit="seconds", ours=ours.seconds, peer=seconds, ratio=ratio, accuracy=accuracy, numbers=numbers, runs=runs,
        claims=claims,
        notes=[
            f"ours: the whole command, ending with {metrics['accuracy']:.4f} on test",
            f"peer: until its test accuracy first reaches {TARGET:g}"
            + ("; stopped before it did, so there is no ratio but a bound" if "ratio_at_least" in numbers else ""),
            "peer: SGD 0.1, momentum 0.9, decay 5e-4, cosine over 100 epochs, batch 64, float32",
            "peer adapted to the data: one input channel, random resized crops to 28 pixels",
        ],
    )  # fmt: skip


def first_reaching(epochs: list[dict[str, Any]], target: float) -> dict[str, Any] | None:
    """The first epoch whose accuracy is at least `target`, or None."""
    return next((line for line in epochs if line["accuracy"] >= target), None)
