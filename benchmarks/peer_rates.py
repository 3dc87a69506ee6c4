"""A working rate for the seeds' CIFAR10CNN, chosen by training images that are held out: the test split is never read.

The seeds' script has one rate of its own, 0.1, at which its network does not get going. Beside `cifar10-080` it runs at the
best of these rates: each trains the first epochs of its cosine, and the highest accuracy on the held-out images decides.
What came out, and how sure it is, is written down where the rate is (benchmarks/cifar10_080.py).
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.harness import Ran, Result, peer, ran

RATES = (0.1, 0.05, 0.03, 0.01, 0.003, 0.001)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as folders or a zip of them, with train/ and test/")
    parser.add_argument("--images", type=int, default=0, help="of train/, those that are held out included; 0 is all")
    parser.add_argument("--held-out", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=2, help="that each rate is tried for")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="each rate is tried with each")
    parser.add_argument("--quick", action="store_true", help="10,000 images, 2,000 of them held out, one epoch each")


def run(options: argparse.Namespace) -> list[Result]:
    if options.quick:
        options.images, options.held_out, options.epochs = 10_000, 2_000, 1
    words = [
        "--data", options.data, "--images", options.images, "--held-out", options.held_out, "--first", options.epochs,
        "--target", 2,
    ]  # fmt: skip
    tried = [
        (rate, ran(peer("cifar10_cnn", *words, "--rate", rate, "--seed", seed)))
        for rate in options.rates
        for seed in options.seeds
    ]
    return [chosen(tried, options.held_out)]


def chosen(tried: list[tuple[float, Ran]], held_out: int) -> Result:
    """The rate with the highest mean accuracy after its last epoch; those it cannot be told from are named."""
    found: dict[float, list[dict[str, Any]]] = {}
    for rate, each in tried:
        found.setdefault(rate, []).append(each.lines()[-1])
    means = {rate: sum(line["accuracy"] for line in lines) / len(lines) for rate, lines in found.items()}
    best = max(means, key=lambda rate: means[rate])
    # Twice the standard error of a difference, as if the two answers were independent: they are not, so it is wide.
    noise = 2 * (2 * means[best] * (1 - means[best]) / held_out) ** 0.5
    close = [rate for rate, mean in means.items() if rate != best and means[best] - mean <= noise]
    return Result(
        name="peer-rates", unit="rate", ours=best,
        numbers={
            "accuracy_by_rate": {str(rate): round(mean, 4) for rate, mean in means.items()},
            "loss_by_rate": {str(rate): [round(line["loss"], 4) for line in lines] for rate, lines in found.items()},
            "epochs": next(iter(found.values()))[0]["epoch"], "held_out": held_out, "not_told_from_the_best": close,
        },
        runs=[each.facts() for _, each in tried],
        notes=["accuracies on held-out images of the training split; no test image was read"],
    )  # fmt: skip
