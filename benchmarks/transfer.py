"""A folder of photographs, whole commands: `sortal train`, the seeds' own way and fastai, all on the same network and weights.

Ours runs with nothing else said and with an empty cache, then once more with the cache it left. The peers get the photographs
unpacked and in the page cache, as ours does. The photographs of `val/` are scored by all and chosen on by none.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim, Ran, Result, peer, ran, say, sortal, times_faster
from benchmarks.photographs import unpacked, warm

SEED_EPOCHS = 25
"""What the seeds' way runs in full."""
FASTER_THAN_SEEDS, FASTER_THAN_FASTAI = 15.0, 5.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder, or zip of one, with train/ and val/")
    parser.add_argument(
        "--seed-epochs", type=int, default=SEED_EPOCHS, help="run so many of the 25 epochs and extrapolate, saying so"
    )
    parser.add_argument("--fastai-epochs", type=int, default=4, help="epochs after the frozen one")
    parser.add_argument("--presize", action="store_true", help="fastai with Resize(460) and aug_transforms(size=224): slower")
    parser.add_argument("--repeats", type=int, default=3, help="times that ours is run from an empty cache; the median counts")


def run(options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="transfer-") as name:
        work = Path(name)
        data = unpacked(options.data, work / "photographs")
        say(f"{warm(data) / 1e6:.0f} MB of photographs")
        cold, again = _ours(data, work, options.repeats)
        seeds = ran(peer("seeds_transfer", "--data", data, "--epochs", options.seed_epochs))
        fastai = ran(
            peer("fastai_transfer", "--data", data, "--epochs", options.fastai_epochs, *["--presize"] * options.presize)
        )
    return [
        against_seeds(cold, seeds),
        against_fastai(cold, fastai, epochs=options.fastai_epochs),
        second_time(cold, again),
    ]


def _ours(data: Path, work: Path, repeats: int) -> tuple[list[Ran], Ran]:
    """Ours from an empty cache, `repeats` times, and once more with the cache of the last."""
    cold = []
    for number in range(repeats):
        environment = {"SORTAL_CACHE": str(work / f"cache-{number}")}
        cold.append(ran(sortal("train", data, "--out", work / f"run-{number}", "--json"), environment=environment))
    return cold, ran(sortal("train", data, "--out", work / "run-again", "--json"), environment=environment)


def against_seeds(cold: Sequence[Ran], seeds: Ran) -> Result:
    """Ours against 25 epochs of the seeds' way; epochs that were not run are extrapolated and the result says so."""
    epochs = seeds.lines()
    whole = extrapolated(seeds.seconds, [line["seconds"] for line in epochs], SEED_EPOCHS)
    missing = SEED_EPOCHS - len(epochs)
    notes = ["RandomResizedCrop(224) and flip, batches of 32, DataLoader with 2 workers, Adam at 0.001, evaluation each epoch"]
    if missing > 0:
        notes.append(f"EXTRAPOLATED: {len(epochs)} epochs were run; {missing} more were added at the mean time of those")
    return _compared(
        "transfer/seeds", cold, seeds, whole, FASTER_THAN_SEEDS, epochs[-1]["accuracy"], notes,
        {
            "peer_seconds_run": round(seeds.seconds, 2),
            "peer_seconds_an_epoch": round(statistics.mean(line["seconds"] for line in epochs), 2),
            "peer_accuracy_by_epoch": [round(line["accuracy"], 4) for line in epochs],
        },
    )  # fmt: skip


def against_fastai(cold: Sequence[Ran], fastai: Ran, *, epochs: int) -> Result:
    """Ours against `vision_learner(...).fine_tune(epochs)`."""
    lines = fastai.lines()
    return _compared(
        "transfer/fastai", cold, fastai, fastai.seconds, FASTER_THAN_FASTAI, lines[-1]["accuracy"],
        [f"vision_learner(dls, 'tf_efficientnet_lite0', ...).fine_tune({epochs}) with the same weights, defaults otherwise"],
        {"peer_accuracy_after_frozen_epoch": round(lines[0]["accuracy"], 4),
         "peer_accuracy_by_epoch": [round(line["accuracy"], 4) for line in lines]},
    )  # fmt: skip


def second_time(cold: Sequence[Ran], again: Ran) -> Result:
    """Ours on data that it has seen: nothing is decoded and no feature computed."""
    answer = again.answer()
    work = answer["work"]
    return Result(
        name="transfer/second-run", unit="seconds", ours=again.seconds,
        accuracy={"ours": answer["metrics"]["val"]["accuracy"], "first_run": cold[-1].answer()["metrics"]["val"]["accuracy"]},
        numbers={"first_run_seconds": round(cold[-1].seconds, 2), "work": work},
        runs=[again.facts()],
        claims=[Claim("nothing decoded, no features computed", work["decoded"] == work["features_computed"] == 0)],
    )  # fmt: skip


def extrapolated(whole: float, epochs: Sequence[float], wanted: int) -> float:
    """Seconds of a command that took `whole` for these epochs, had it run `wanted`: the rest at their mean time."""
    return whole + (wanted - len(epochs)) * statistics.mean(epochs)


def _compared(
    name: str, cold: Sequence[Ran], other: Ran, seconds: float, wanted: float, accuracy: float, notes: list[str],
    numbers: dict[str, Any],
) -> Result:  # fmt: skip
    ours = statistics.median(done.seconds for done in cold)
    metrics = cold[-1].answer()["metrics"]
    ratio = times_faster(ours, seconds)
    return Result(
        name=name, unit="seconds", ours=ours, peer=seconds, ratio=ratio,
        accuracy={"ours": metrics["val"]["accuracy"], "peer": accuracy},
        numbers={**numbers, "ours_seconds": [round(done.seconds, 2) for done in cold],
                 "ours_val_interval": metrics["val"]["accuracy_interval"],
                 "ours_cross_validation": metrics.get("cross_validation", {}).get("accuracy")},
        runs=[*(done.facts() for done in cold), other.facts()],
        claims=[Claim(f"at least {wanted:g} times as fast", ratio >= wanted)],
        notes=[*notes, f"ours: median of {len(cold)} runs from an empty cache; accuracies on val/"],
    )  # fmt: skip
