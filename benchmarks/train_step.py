"""CIFAR10CNN in training, batches of 128: images a second of the engine's own steps beside the seeds' loop.

The same network, loss, optimiser, dropout, crops, mirrors and colours. Ours chooses precision and layout by measuring, as it
does in every training, and varies whole batches; the seeds' loop is float32 in planes, with torchvision's transforms in a
DataLoader of 4 workers. They run in turn, several times, and the medians count; --quick runs fewer steps.
"""

import argparse
import statistics
import sys
from pathlib import Path

from benchmarks.harness import Claim, Ran, Result, peer, ran, spread, times_faster

PROMISED = 2.3
RECIPE = ("--recipe", "seed002_cifar10", "--set", "precision=auto", "--set", "layout=auto")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as folders or a zip of them, with train/ and test/")
    parser.add_argument("--quick", action="store_true", help="fewer steps and repeats: the same comparison, noisier")


def run(options: argparse.Namespace) -> list[Result]:
    steps, repeats, images = (10, 2, 5_000) if options.quick else (40, 5, 12_000)
    ours, seeds = list[Ran](), list[Ran]()
    for _ in range(repeats):
        ours.append(ran([sys.executable, "-m", "benchmarks.ours.stepping", *RECIPE, "--steps", str(steps)]))
        seeds.append(ran(peer("cifar10_cnn", "--data", options.data, "--images", images, "--steps", steps)))
    return [compared(ours, seeds)]


def compared(ours: list[Ran], seeds: list[Ran]) -> Result:
    """Medians of images a second; the ratio is ours over the peer's."""
    rates, theirs = ([each.answer()["images_per_second"] for each in side] for side in (ours, seeds))
    middle, their_middle = statistics.median(rates), statistics.median(theirs)
    ratio = times_faster(1 / middle, 1 / their_middle)
    last = ours[-1].answer()
    return Result(
        name="train-step", unit="images/s", ours=middle, peer=their_middle, ratio=ratio,
        numbers={
            "ours_spread": spread(rates), "peer_spread": spread(theirs),
            **{key: last[key] for key in ("precision", "layout", "share_of_peak", "profile")},
        },
        runs=[each.facts() for pair in zip(ours, seeds, strict=True) for each in pair],
        claims=[Claim(f"{PROMISED:g} times as many images a second, or more", ratio >= PROMISED)],
        notes=["CIFAR10CNN, batches of 128, SGD with momentum; in turn, medians"],
    )  # fmt: skip
