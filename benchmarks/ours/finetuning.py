"""Steps of a fine-tuning of the whole network by the engine's own session, on random stored pixels."""

import argparse
import json
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.profiling import shares
from sortal.data.samples import Samples
from sortal.engines.torch.engine import ENGINE
from sortal.recipe import Recipe, override, presets
from sortal.workflows.deciding import geometry_of

BATCH, SKIPPED, CLASSES = 32, 2, 10


class Noise:
    """Random pixels: how fast a step is does not depend on what they show."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[rows_B]


def recipe() -> Recipe:
    """The preset for thousands of photographs, with everything learning from the first step."""
    return override(presets.photos_finetune(), ["strategy=full", f"batch_size={BATCH}", "optimizer.clip=0"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    steps = parser.parse_args().steps
    wanted = ENGINE.pinned(recipe())
    geometry = geometry_of(ENGINE, wanted)
    found, _ = ENGINE.measured(wanted, geometry, CLASSES, images=5_000)
    count = BATCH * (steps + SKIPPED + 2)
    rows = np.arange(count)
    pixels = Noise((count, geometry.resize, geometry.resize, geometry.channels))
    samples = Samples(tuple("abcdefghij"), rows % CLASSES, rows.astype(np.uint64), {"train": rows}, pixels)
    session = ENGINE.open(found, geometry, samples)
    batches = iter(list(session.batches(0)))
    for _ in range(SKIPPED):
        float(session.train_step(next(batches), 1.0, 0.5))
    began = time.perf_counter()
    losses = [session.train_step(next(batches), 1.0, 0.5) for _ in range(steps)]
    last = float(losses[-1])
    seconds = time.perf_counter() - began
    profile = shares(lambda: float(session.train_step(next(batches), 1.0, 0.5)))
    print(
        json.dumps(
            {
                "images_per_second": BATCH * steps / seconds, "loss": last,
                "precision": found.precision, "layout": found.layout, "profile": profile,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
