"""Two epochs over a folder's photographs, to varied batches as a training session asks for them."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.profiling import functions
from sortal.data.facts import Facts
from sortal.data.keeping import PixelKeeper
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.scan import scan
from sortal.data.store import Cache
from sortal.engines.torch.inputs import PixelInputs
from sortal.preprocess import Preprocess
from sortal.recipe import Augment, Recipe

BATCH = 32
GEOMETRY = Preprocess(224, 256)
RECIPE = Recipe(strategy="full", layout="channels_last", augment=Augment(crop="resized", scale=(0.08, 1.0), flip=0.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="a new folder")
    options = parser.parse_args()
    cache = Cache(options.cache, limit=20 << 30)
    mean, std = (torch.full((1, 3, 1, 1), 0.5) for _ in range(2))

    began = time.perf_counter()
    with Facts(cache.facts) as facts:
        manifest = scan(
            options.data, facts=facts, keep=lambda seen: PixelKeeper.with_room(GEOMETRY, cache, seen.images)
        ).manifest
    with StoredPixels(manifest, GEOMETRY, cache) as pixels:
        pixels.fill()
        prepared = time.perf_counter()
        rows = np.arange(len(pixels))
        samples = Samples(manifest.classes, manifest.labels_N, manifest.keys_N, {"train": rows}, pixels)
        inputs = PixelInputs(samples, RECIPE, GEOMETRY, torch.device("cpu"))

        def run(epoch: int) -> None:
            order = np.random.default_rng(epoch).permutation(rows)
            for low in range(0, len(order), BATCH):
                images, _ = inputs.training(order[low : low + BATCH], epoch, epoch * len(order) + low)
                images.sub_(mean).div_(std)

        ends = []
        for epoch in range(2):
            run(epoch)
            ends.append(time.perf_counter())
        profile = functions(lambda: run(2))  # one more epoch, which is not timed
    print(
        json.dumps(
            {
                "first_images_per_second": len(rows) / (ends[0] - began),
                "second_images_per_second": len(rows) / (ends[1] - ends[0]),
                "first_seconds": {"scan_and_decode": round(prepared - began, 3), "batches": round(ends[0] - prepared, 3)},
                "second_profile": profile, "where": pixels.where, "decoded": pixels.decoded,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
