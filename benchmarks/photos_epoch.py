"""Epochs over photographs of 12 megapixels, from files to varied batches of 224 pixels: ours beside ImageFolder and DataLoader.

Both crop at random, mirror and give normalised float batches of 32; nothing is trained. The first epoch of ours lists, hashes,
decodes and stores; the second reads what is stored. The peer decodes in both, in two workers, with torchvision's transforms as
its documentation writes them. Ours crops from the stored centre square of 256 pixels, the peer from the whole picture.

The first epoch is held against bare decoding of the same files, all cores at once; the second against copying memory, of which
it reads a stored square and writes a batch's floats for each photograph.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import peaks, profiling
from benchmarks.harness import Result, peer
from benchmarks.photographs import large, warm
from benchmarks.rates import faster, in_turn, of_peak

FIRST, SECOND = 3.0, 20.0
MOVED = 3 * 256**2 + 4 * 3 * 224**2
"""Bytes of a photograph in the second epoch: read as a stored square, written as normalised floats."""
PROFILED = 32
"""Photographs of the peer's short run, in one process, so that it shows what its workers do."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, help="folder, or zip of one, of photographs that are enlarged; else some are drawn"
    )
    parser.add_argument("--quick", action="store_true", help="300 photographs instead of 1,000, and each side once")


def run(options: argparse.Namespace) -> list[Result]:
    count, repeats = (300, 1) if options.quick else (1_000, 3)
    with tempfile.TemporaryDirectory(prefix="photos-epoch-") as name:
        work = Path(name)
        data = large(options.data, work / "photographs", count)
        bytes_each = warm(data) / count
        ours, theirs = in_turn(
            [
                lambda number: [sys.executable, "-m", "benchmarks.ours.epochs", str(data), "--cache", str(work / f"c{number}")],
                lambda _: peer("loader_epochs", data),
            ],
            repeats,
        )
        decoding, copying = peaks.of("decoding", data), peaks.of("copying")
        words = (data, "--images", PROFILED, "--workers", 0)
        peer_profile = profiling.command("benchmarks.peers.loader_epochs", *words)
    last = ours[-1].lines()[-1]
    about = {"photographs": count, "megabytes_each": round(bytes_each / 1e6, 2), "peer_profile": peer_profile}
    parts = last["first_seconds"]
    first = {
        "seconds": parts, "profile": profiling.largest(parts),
        **of_peak(ours, decoding, key="first_images_per_second"), "peak_is": "bare decoding, images/s",
    }  # fmt: skip
    second = {
        "profile": last["second_profile"],
        **of_peak(ours, copying, MOVED, key="second_images_per_second"), "peak_is": "copying memory, bytes/s",
    }  # fmt: skip
    return [
        faster(f"photos-epoch/{which}", ours, theirs, promised, key=f"{which}_images_per_second", numbers=about | more)
        for which, promised, more in (("first", FIRST, first), ("second", SECOND, second))
    ]
