"""CIFAR-10 as JPEG files on an accelerator: ours, and airbench94_muon by its authors' program on the same files.

The peer trains twice, as its authors do: first to compile and warm up, then the training that its clock measures; its accuracy
has six test-time views. Ours must end at that accuracy or above in its one look at the test split. Whole commands are compared:
ours from an empty cache, and the peer's without its second training, since a person who wants one model trains once. The
trainings alone stand beside them: ours with its evaluations and checkpoints, the peer's second. Then the epochs of a ResNet-18,
from its images a second, and where the time of a step goes.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim, Ran, Result, peer, ran, sortal, spread, times_faster

RECIPE = ("--recipe", "small_accelerated", "--set", "test_views=mirror_and_shift")
PROMISED, EPOCH_SECONDS, IMAGES = 1.0, 2.0, 50_000
RESNET = (
    *("--recipe", "seed002_cifar10", "--set", "model=resnet18", "--set", "stem=small", "--set", "batch_size=512"),
    *("--set", "precision=auto", "--set", "layout=auto"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as folders or a zip of them, with train/ and test/")
    parser.add_argument("--repeats", type=int, default=3, help="of both sides, in turn; medians count")
    parser.add_argument("--set", action="append", default=[], metavar="K=V", help="change our recipe")


def run(options: argparse.Namespace) -> list[Result]:
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("not run: there is no accelerator on this machine")
    changes = [word for change in options.set for word in ("--set", change)]
    ours, theirs = list[Ran](), list[Ran]()
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="gpu-cifar10-") as name:
            work = Path(name)
            command = sortal("train", options.data, *RECIPE, *changes, "--out", work / "run", "--json")
            ours.append(ran(command, environment={"SORTAL_CACHE": str(work / "cache")}))
        theirs.append(ran(peer("airbench94_muon", "--data", options.data)))
    steps = ran([sys.executable, "-m", "benchmarks.ours.stepping", *RECIPE, *changes, "--steps", "100"])
    resnet = ran([sys.executable, "-m", "benchmarks.ours.stepping", *RESNET, "--steps", "100"])
    device = torch.cuda.get_device_name()
    return [reached(ours, theirs, device, steps.answer()), epoch(resnet, device)]


def reached(ours: Sequence[Ran], theirs: Sequence[Ran], device: str, steps: dict[str, Any]) -> Result:
    """Medians of whole commands; a ratio only where ours is as accurate as the peer, by the medians too."""
    answers, lines = [each.answer() for each in ours], [each.lines()[-1] for each in theirs]
    accuracies = [answer["metrics"]["test"]["accuracy"] for answer in answers]
    wanted = [line["accuracy"] for line in lines]
    accuracy = {"ours": statistics.median(accuracies), "peer": statistics.median(wanted)}
    as_good = accuracy["ours"] >= accuracy["peer"]
    # The peer's first training compiles as a single one would have to, so its command without the second is a cold one's.
    cold = [each.seconds - line["seconds"] for each, line in zip(theirs, lines, strict=True)]
    seconds, peer_seconds = statistics.median(each.seconds for each in ours), statistics.median(cold)
    ratio = times_faster(seconds, peer_seconds) if as_good else None
    mine = [answer["seconds"]["train"] for answer in answers]
    numbers: dict[str, Any] = {
        "device": device, "ours_spread": spread([each.seconds for each in ours]), "peer_spread": spread(cold),
        "ours_accuracies": accuracies, "peer_accuracies": wanted, "ours_seconds": answers[-1]["seconds"],
        "ours_interval": answers[-1]["metrics"]["test"]["accuracy_interval"],
        "training_alone": {
            "ours": statistics.median(mine), "peer": statistics.median(line["seconds"] for line in lines),
            "ratio": statistics.median(line["seconds"] for line in lines) / statistics.median(mine),
        },
        "images_per_second": answers[-1]["work"]["images_per_second"],
        "recipe": {
            key: answers[-1]["recipe"][key] for key in ("model", "epochs", "batch_size", "precision", "compiled", "test_views")
        },
        "steps": {key: steps[key] for key in ("images_per_second", "share_of_peak", "profile")},
    }  # fmt: skip
    return Result(
        name="gpu-cifar10", unit="seconds", ours=seconds, peer=peer_seconds, ratio=ratio, accuracy=accuracy, numbers=numbers,
        runs=[each.facts() for pair in zip(ours, theirs, strict=True) for each in pair],
        claims=[
            Claim("as accurate as airbench94_muon, or more", as_good),
            Claim(f"{PROMISED:g} times as fast as it, or faster", ratio is not None and ratio >= PROMISED),
        ],
        notes=[f"on {device}; whole commands from an empty cache, the peer's without its second training"],
    )  # fmt: skip


def epoch(resnet: Ran, device: str) -> Result:
    """Seconds of an epoch of a ResNet-18 at its images a second."""
    found = resnet.answer()
    seconds = IMAGES / found["images_per_second"]
    return Result(
        name="gpu-cifar10/resnet18", unit="seconds an epoch", ours=seconds,
        numbers={
            "device": device,
            **{key: found[key] for key in ("images_per_second", "share_of_peak", "precision", "layout", "compiled", "profile")},
        },
        runs=[resnet.facts()], claims=[Claim(f"an epoch of a ResNet-18 under {EPOCH_SECONDS:g} s", seconds < EPOCH_SECONDS)],
        notes=[f"on {device}; {IMAGES:,} images at the rate of 100 steps in batches of 512, which are augmented"],
    )  # fmt: skip
