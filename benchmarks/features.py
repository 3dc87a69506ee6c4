"""Features of a frozen network, from JPEG files: ours beside eager torch and timm behind torchvision's loader.

The same files, the same network and weights, one centre view of 224 pixels. Ours lists, hashes, decodes and stores the images,
then computes in whichever runtime measured fastest; the peer is `ImageFolder` with torchvision's transforms in a DataLoader of
two workers and the network in eager float32. Both are timed from the folder to the last feature, after imports, building the
network and a few images to warm up. The accuracy is that of one logistic regression on the features, by 5-fold cross-
validation.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Result, peer
from benchmarks.photographs import gathered
from benchmarks.rates import faster, in_turn

PROMISED = 6.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, help="folder, or zip of one, with photographs in folders by class; else some are drawn"
    )
    parser.add_argument("--quick", action="store_true", help="fewer photographs and repeats: the same comparison, noisier")


def run(options: argparse.Namespace) -> list[Result]:
    count, repeats = (128, 2) if options.quick else (1_000, 5)
    with tempfile.TemporaryDirectory(prefix="features-") as name:
        work = Path(name)
        data = gathered(options.data, work / "photographs", count)
        ours, theirs = in_turn(
            [
                lambda number: [
                    sys.executable,
                    "-m",
                    "benchmarks.ours.features",
                    str(data),
                    "--cache",
                    str(work / f"c{number}"),
                ],
                lambda _: peer("eager_features", data),
            ],
            repeats,
        )
    last = ours[-1].lines()[-1]
    return [
        faster(
            "features", ours, theirs, PROMISED,
            numbers={key: last[key] for key in ("images", "runtime", "why", "seconds")},
            notes=["tf_efficientnet_lite0, 224 pixels, from JPEG files; accuracy: logistic regression, cross-validated"],
        )
    ]  # fmt: skip
