"""Fine-tuning all of tf_efficientnet_lite0 at 224 pixels, batches of 32: images a second of our steps beside a float32 loop.

The loop is that of timm's own training script in its essentials: the network as `timm.create_model` gives it, cross-entropy,
AdamW, float32. It gets its batches ready made; ours crops, flips and converts each from stored bytes, which flatters the peer.
"""

import argparse
import sys

from benchmarks.harness import Result, peer
from benchmarks.rates import faster, in_turn

PROMISED = 2.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="fewer steps and repeats: the same comparison, noisier")


def run(options: argparse.Namespace) -> list[Result]:
    steps, repeats = (4, 2) if options.quick else (12, 5)
    ours, theirs = in_turn(
        [
            lambda _: [sys.executable, "-m", "benchmarks.ours.finetuning", "--steps", str(steps)],
            lambda _: peer("timm_loop", "--steps", str(steps)),
        ],
        repeats,
    )
    chosen = ours[-1].lines()[-1]
    return [
        faster(
            "finetune-step", ours, theirs, PROMISED,
            numbers={key: chosen[key] for key in ("precision", "layout")},
            notes=["whole network, AdamW, batches of 32; the peer's batches are ready made, ours are augmented from bytes"],
        )
    ]  # fmt: skip
