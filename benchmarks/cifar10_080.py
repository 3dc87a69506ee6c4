"""CIFAR-10 as JPEG files: time to a test accuracy of 0.80, ours beside the seeds' CIFAR10CNN as the seeds train it.

Ours is the whole command `sortal train`, with reading, measuring, export and report, and counts only if its one look at the
test split reaches the target. The peer may look at the test split in every epoch, is stopped after the first that reaches it,
and pays for no bundle and no report. It keeps the seeds' settings from start to end but for the rate, which --rate sets: at
their own 0.1 the network does not get going. There is no quick form: nothing is extrapolated. Where the peer's time goes is
shown by some steps of its own that are not timed, in one process.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks import profiling
from benchmarks.harness import Result, peer, ran, sortal
from benchmarks.reaching import compared, steps_of

TARGET, PROMISED = 0.80, 15.0
WORDS = ("--recipe", "small_quick")
RATE = 0.01
"""The peer's, chosen by `peer-rates` on images of the training split (2026-11-27-peer-rates.json): two epochs of 20,000 images
came to 0.459 of 5,000 held out at 0.01, 0.414 at 0.02 and 0.272 at 0.05; one epoch of 8,000, without a log, to 0.184 at 0.1,
0.261 at 0.03, 0.302 at 0.003 and 0.214 at 0.001.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as folders or a zip of them, with train/ and test/")
    parser.add_argument("--rate", type=float, default=RATE, help=f"the peer's learning rate; default: {RATE}")
    parser.add_argument("--limit", type=float, default=4 * 3600, help="the peer begins no epoch after so many seconds")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out; no ratio then")


def run(options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="cifar10-080-") as name:
        work = Path(name)
        command = sortal("train", options.data, *WORDS, "--out", work / "run", "--json")
        ours = ran(command, environment={"SORTAL_CACHE": str(work / "cache")})
        more = steps_of(*WORDS)
        cnn = None
        if not options.no_peer:
            words = ["--data", options.data, "--target", TARGET, "--rate", options.rate, "--limit", options.limit]
            cnn = ran(peer("cifar10_cnn", *words))
            words = ["--data", options.data, "--images", 5_000, "--steps", 10, "--workers", 0]
            more["peer_profile"] = profiling.command("benchmarks.peers.cifar10_cnn", *words)
    notes = [f"peer: SGD {options.rate:g}, momentum 0.9, decay 5e-4, cosine over 100 epochs, batch 128, float32, 4 workers"]
    return [compared("cifar10-080", ours, cnn, target=TARGET, promised=PROMISED, notes=notes, more=more)]
