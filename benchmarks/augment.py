"""Augmentation of images of 32 pixels: whole batches of ours beside torchvision's v2 transforms, image by image.

Padded crop, mirror, brightness, contrast and saturation, RandAugment with two operations, erased rectangles; from stored bytes
to float batches of 1,024. Ours uses all cores in one process; the peer runs in a DataLoader of two workers, on tensors, as its
documentation recommends. Ours is held against copying memory: each image is read as bytes and written as floats.
"""

import argparse
import sys

from benchmarks import peaks, profiling
from benchmarks.harness import Result, peer
from benchmarks.rates import faster, in_turn, of_peak

PROMISED = 10.0
MOVED = (1 + 4) * 3 * 32**2
"""Bytes of an image: read as bytes, written as floats."""
PROFILED = 4_096
"""Images of the peer's short run, in one process, so that it shows what its workers do."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="fewer images and repeats: the same comparison, noisier")


def run(options: argparse.Namespace) -> list[Result]:
    ours_count, count, repeats = (40_960, 4_096, 2) if options.quick else (102_400, 20_480, 5)
    ours, theirs = in_turn(
        [
            lambda _: [sys.executable, "-m", "benchmarks.ours.augmenting", "--images", str(ours_count)],
            lambda _: peer("v2_augment", "--images", count),
        ],
        repeats,
    )
    numbers = {
        **of_peak(ours, peaks.of("copying"), MOVED), "peak_is": "copying memory, bytes/s",
        "peer_profile": profiling.command("benchmarks.peers.v2_augment", "--images", PROFILED, "--workers", 0),
    }  # fmt: skip
    notes = ["32 pixels, batches of 1,024; crop, mirror, colour, RandAugment, erasing"]
    return [faster("augment", ours, theirs, PROMISED, numbers=numbers, notes=notes)]
