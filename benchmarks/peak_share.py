"""A residual network in training: what share of this machine's measured bf16 matrix peak the engine's steps reach.

The peak is that of a 2048 x 2048 matrix product, measured in the same process just before and after the steps, so that a
machine that is shared or throttled is judged by what it gives. The peer is the same network stepped as one would by hand, with
bf16 autocast and channels last on images that are there already. In turn, several times; the medians count.
"""

import argparse
import statistics
import sys

from benchmarks.harness import Claim, Ran, Result, ran, spread

PROMISED = 0.70
RECIPE = (
    "--recipe", "seed000_resnet_cifar", "--set", "batch_size=128", "--set", "precision=auto", "--set", "layout=auto",
    "--set", "augment.crop=padded", "--set", "augment.brightness=0", "--set", "augment.contrast=0",
    "--set", "augment.saturation=0",
)  # fmt: skip
"""Tutorial 000's ResNet for 32 pixels with crops and mirrors."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="fewer steps and repeats: the same comparison, noisier")


def run(options: argparse.Namespace) -> list[Result]:
    steps, repeats = (6, 2) if options.quick else (30, 5)
    settings = [*RECIPE, "--steps", str(steps)]
    ours, plain = list[Ran](), list[Ran]()
    for _ in range(repeats):
        ours.append(ran([sys.executable, "-m", "benchmarks.ours.stepping", *settings]))
        plain.append(ran([sys.executable, "-m", "benchmarks.steps", *settings, "--plain"]))
    return [compared(ours, plain)]


def compared(ours: list[Ran], plain: list[Ran]) -> Result:
    """Medians of the share of the peak; the ratio is ours over the steps by hand."""
    mine, theirs = ([each.answer()["share_of_peak"] for each in side] for side in (ours, plain))
    middle, their_middle = statistics.median(mine), statistics.median(theirs)
    last = ours[-1].answer()
    keys = ("images_per_second", "operations_per_image", "peak_operations_per_second", "precision", "layout", "profile")
    return Result(
        name="peak-share", unit="of the bf16 matrix peak", ours=middle, peer=their_middle, ratio=middle / their_middle,
        numbers={"ours_spread": spread(mine), "peer_spread": spread(theirs)} | {key: last[key] for key in keys},
        runs=[each.facts() for pair in zip(ours, plain, strict=True) for each in pair],
        claims=[Claim(f"at least {PROMISED:.0%} of the peak", middle >= PROMISED)],
        notes=["peer: the same network stepped by hand in bf16 and channels last, without augmentation"],
    )  # fmt: skip
