"""Batches of stored bytes through the engine's augmentation."""

import argparse
import json
import time

import numpy as np
import torch

from benchmarks.profiling import shares
from sortal.engines.torch import device as devices
from sortal.engines.torch.augment import augment
from sortal.recipe import Augment

BATCH, SIDE = 1024, 32
SPEC = Augment(
    crop="padded",
    padding=4,
    flip=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    rand_augment=2,
    rand_magnitude=9,
    erase=0.25,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=102_400)
    steps = parser.parse_args().images // BATCH
    devices.keep_memory(torch.device("cpu"))  # as every training does before its first batch
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), dtype=np.uint8))
    keys = np.arange(BATCH, dtype=np.uint64)

    def batch(epoch: int) -> torch.Tensor:
        return augment(pixels, keys, spec=SPEC, size=SIDE, seed=0, epoch=epoch)

    batch(0)
    began = time.perf_counter()
    for step in range(steps):
        batch(step)
    seconds = time.perf_counter() - began
    print(json.dumps({"images_per_second": steps * BATCH / seconds, "profile": shares(lambda: batch(0))}))


if __name__ == "__main__":
    main()
