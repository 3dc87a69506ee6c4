"""CIFAR-10 as JPEG files on an accelerator: ours, and airbench94_muon by its authors' program on the same files.

The peer trains twice, as its authors do: once to compile and warm up, then the training that counts, timed by its own clock;
its accuracy has six test-time views. Ours must end at that accuracy or above in its one look at the test split. Whole commands
are compared, which for both hold reading 60,000 files, and for the peer compiling; trainings alone stand beside them. Then the
epochs of a ResNet-18, from its images a second.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Claim, Ran, Result, peer, ran, sortal, times_faster

RECIPE = ("--recipe", "small_best", "--set", "test_views=mirror_and_shift")
PROMISED, EPOCH_SECONDS, IMAGES = 1.0, 2.0, 50_000
RESNET = (
    *("--recipe", "seed002_cifar10", "--set", "model=resnet18", "--set", "stem=small", "--set", "batch_size=512"),
    *("--set", "precision=auto", "--set", "layout=auto"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as folders or a zip of them, with train/ and test/")


def run(options: argparse.Namespace) -> list[Result]:
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("not run: there is no accelerator on this machine")
    with tempfile.TemporaryDirectory(prefix="gpu-cifar10-") as name:
        work = Path(name)
        command = sortal("train", options.data, *RECIPE, "--out", work / "run", "--json")
        ours = ran(command, environment={"SORTAL_CACHE": str(work / "cache")})
    theirs = ran(peer("airbench94_muon", "--data", options.data))
    resnet = ran([sys.executable, "-m", "benchmarks.steps", *RESNET, "--steps", "60"])
    return [reached(ours, theirs, torch.cuda.get_device_name()), epoch(resnet, torch.cuda.get_device_name())]


def reached(ours: Ran, theirs: Ran, device: str) -> Result:
    """Whole commands; a ratio only where ours is as accurate as the peer."""
    answer, line = ours.answer(), theirs.lines()[-1]
    metrics, wanted = answer["metrics"]["test"], line["accuracy"]
    as_good = metrics["accuracy"] >= wanted
    ratio = times_faster(ours.seconds, theirs.seconds) if as_good else None
    numbers: dict[str, Any] = {
        "device": device, "ours_interval": metrics["accuracy_interval"], "ours_seconds": answer["seconds"],
        "peer_training_seconds": line["seconds"], "peer_warm_up_seconds": line["warm_up_seconds"],
        "images_per_second": answer["work"]["images_per_second"],
        "recipe": {key: answer["recipe"][key] for key in ("model", "epochs", "precision", "layout", "compiled", "test_views")},
    }  # fmt: skip
    return Result(
        name="gpu-cifar10", unit="seconds", ours=ours.seconds, peer=theirs.seconds, ratio=ratio,
        accuracy={"ours": metrics["accuracy"], "peer": wanted}, numbers=numbers, runs=[ours.facts(), theirs.facts()],
        claims=[
            Claim("as accurate as airbench94_muon, or more", as_good),
            Claim(f"{PROMISED:g} times as fast as it, or faster", ratio is not None and ratio >= PROMISED),
        ],
        notes=[f"on {device}; whole commands, with reading the files and for the peer with compiling"],
    )  # fmt: skip


def epoch(resnet: Ran, device: str) -> Result:
    """Seconds of an epoch of a ResNet-18 at its images a second."""
    found = resnet.answer()
    seconds = IMAGES / found["images_per_second"]
    return Result(
        name="gpu-cifar10/resnet18", unit="seconds an epoch", ours=seconds,
        numbers={"device": device, **{key: found[key] for key in ("images_per_second", "precision", "layout", "profile")}},
        runs=[resnet.facts()], claims=[Claim(f"an epoch of a ResNet-18 under {EPOCH_SECONDS:g} s", seconds < EPOCH_SECONDS)],
        notes=[f"on {device}; {IMAGES:,} images at the rate of 60 steps"],
    )  # fmt: skip
