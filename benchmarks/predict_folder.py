"""A folder of photographs predicted, whole commands: `sortal predict`, a plain torch loop with the same network, ultralytics.

The model is one that `sortal train` makes of the same photographs, which is not timed. The torch loop builds timm's network,
loads the bundle's weights and runs batches of 32 from a DataLoader of two workers in float32. Ultralytics runs its yolo11n-cls,
made from its yaml without weights, at 224 pixels and in batches of 32, as its documentation predicts a folder: another network,
a smaller one.

Ours is held against the machine's float32 matrix product: the network's arithmetic over the time of the whole command. Where
the time goes is shown by a short run of each side, which is not timed.
"""

import argparse
import csv
import os
import statistics
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import peaks, profiling
from benchmarks.harness import Claim, Ran, Result, not_run, peer, ran, sortal, spread, times_faster
from benchmarks.photographs import gathered, warm
from benchmarks.rates import in_turn

PROMISED = 3.0
PROFILED = 100
"""Photographs of the short runs."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, help="folder, or zip of one, with photographs in folders by class; else some are drawn"
    )
    parser.add_argument("--quick", action="store_true", help="200 photographs instead of 1,000, and each side once")


def run(options: argparse.Namespace) -> list[Result]:
    count, repeats = (200, 1) if options.quick else (1_000, 5)
    with tempfile.TemporaryDirectory(prefix="predict-folder-") as name:
        work = Path(name)
        training = gathered(options.data, work / "training", 400)
        folder = gathered(options.data, work / "photographs", count, again=True)
        warm(folder)
        cache = {"SORTAL_CACHE": str(work / "cache")}
        trained = ran(sortal("train", training, "--out", work / "run", "--json"), environment=cache).answer()
        answers = work / "answers.csv"
        sides = [
            lambda _: sortal("predict", work / "run", folder, "--format", "csv", "--output", answers),
            lambda _: peer("torch_folder", work / "run" / "bundle", folder),
        ]
        if find_spec("ultralytics"):
            os.environ["YOLO_CONFIG_DIR"], os.environ["YOLO_OFFLINE"] = str(work), "true"
            sides.append(lambda _: peer("ultralytics_folder", folder))
        ours, loop, *others = in_turn(sides, repeats)
        accuracy = right(answers, folder)
        numbers = of_product(statistics.median(each.seconds for each in ours), count, trained["recipe"]["model"])
        few = gathered(options.data, work / "few", PROFILED, again=True)
        words = ("predict", work / "run", few, "--format", "csv", "--output", work / "few.csv")
        numbers["profile"] = profiling.command("sortal.cli.main", *words)
        profiles = [profiling.command("benchmarks.peers.torch_folder", work / "run" / "bundle", few)]
        if others:
            profiles.append(profiling.command("benchmarks.peers.ultralytics_folder", few))
    accuracies = {"ours": accuracy, "peer": loop[-1].lines()[-1]["accuracy"]}
    found = [against("predict-folder/torch", ours, loop, accuracies, count, numbers | {"peer_profile": profiles[0]})]
    if others:
        more = numbers | {"peer_profile": profiles[1]}
        found.append(against("predict-folder/ultralytics", ours, others[0], {}, count, more))
    else:
        found.append(not_run("predict-folder/ultralytics", ours, "ultralytics is not installed"))
    return found


def of_product(seconds: float, count: int, model: str) -> dict[str, Any]:
    """The share of the float32 matrix product's peak that `count` photographs in so many seconds come to."""
    (network,) = ran(sortal("models", model, "--json")).answer()["models"]
    peak, work = peaks.of("product"), 2 * network["multiply_adds"]
    return {
        "share_of_peak": round(count * work / seconds / peak, 4), "peak": peak,
        "peak_is": "a float32 matrix product, operations/s", "operations_per_image": work,
    }  # fmt: skip


def right(answers: Path, folder: Path) -> float:
    """Share of a CSV's answers, 0..1, that name the folder of their photograph."""
    with answers.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != sum(1 for path in folder.rglob("*") if path.is_file()):
        raise ValueError(f"{answers} has {len(rows)} answers, and not one for each photograph")
    return sum(row["label"] == Path(row["source"]).parent.name for row in rows) / len(rows)


def against(
    name: str, ours: Sequence[Ran], theirs: Sequence[Ran], accuracy: dict[str, float], count: int, more: dict[str, Any]
) -> Result:
    """Medians of whole commands; the ratio is the peer's time over ours."""
    seconds, others = [each.seconds for each in ours], [each.seconds for each in theirs]
    middle, other = statistics.median(seconds), statistics.median(others)
    ratio = times_faster(middle, other)
    return Result(
        name=name, unit="seconds", ours=middle, peer=other, ratio=ratio, accuracy=accuracy,
        numbers={
            "photographs": count,
            "ours_images_per_second": round(count / middle, 1), "peer_images_per_second": round(count / other, 1),
            "ours_spread": spread(seconds), "peer_spread": spread(others),
            "ours_cores_busy": round(ours[-1].cpu_seconds / ours[-1].seconds, 2),
            "peer_cores_busy": round(theirs[-1].cpu_seconds / theirs[-1].seconds, 2),
            **more,
        },
        runs=[each.facts() for pair in zip(ours, theirs, strict=True) for each in pair],
        claims=[Claim(f"at least {PROMISED:g} times as fast", ratio >= PROMISED)],
        notes=[f"whole commands in turn, {len(seconds)} times; medians"],
    )  # fmt: skip
