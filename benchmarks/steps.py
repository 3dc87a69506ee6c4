"""Training steps of a recipe by the engine's own session, timed and profiled; a process of its own, for the benchmarks.

Prints one JSON object: images per second, arithmetic per second, the device's bf16 peak measured just before and after by a
product of two square matrices (2048 a side on a processor, 8192 on an accelerator), and which operations the device's time goes
to. With --plain it steps the same network as one would by hand: bf16 autocast and channels last, a batch of random images, SGD
with momentum. On an accelerator steps are queued one after the other and waited for at the end, as a training does.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from sortal.data.samples import Samples
from sortal.engines.torch import device as devices
from sortal.engines.torch.engine import ENGINE
from sortal.engines.torch.session import TorchSession
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe, override, parse, presets

SKIPPED = 3
SHOWN = 8
"""Operations that a profile names."""
QUEUED = 20
"""Steps that an accelerator is given before anyone waits for it."""


class Noise:
    """Random pixels: how fast a step is does not depend on what they show."""

    def __init__(self, count: int, side: int) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)

    def read(self, rows_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[rows_B]


def peak() -> float:
    """bf16 arithmetic that the device sustains, operations a second, the best of five."""
    side, place = (8192 if devices.accelerator() else 2048), devices.device()
    a, b = (torch.randn(side, side, device=place).to(torch.bfloat16) for _ in range(2))
    return 2 * side**3 / min(seconds(lambda: a @ b) for _ in range(5))


def seconds(action: Callable[[], object]) -> float:
    """Until the device has done it."""
    devices.wait(devices.device())
    began = time.perf_counter()
    action()
    devices.wait(devices.device())
    return time.perf_counter() - began


def opened(recipe: Recipe, count: int) -> TorchSession:
    """A session on random pixels, with everything measured that the recipe leaves open."""
    side, channels = recipe.image_size, recipe.channels
    geometry = Preprocess(side, side, channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    recipe, _ = ENGINE.measured(recipe, geometry, 10, images=50_000)
    rows = np.arange(count)
    samples = Samples(tuple("abcdefghij"), rows % 10, rows.astype(np.uint64), {"train": rows}, Noise(count, side))
    return ENGINE.open(recipe, geometry, samples)


def stepper(session: TorchSession, *, plain: bool) -> Callable[[], object]:
    """One training step after the other: the session's, or those one would write by hand."""
    batches = iter([batch for epoch in range(200) for batch in session.batches(epoch)][:-1])
    if not plain:
        return lambda: session.train_step(next(batches), 1.0, 0.9)
    model, place = session.model.to(memory_format=torch.channels_last).train(), session.device
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    size, channels = session.recipe.image_size, session.recipe.channels
    images = torch.rand(session.recipe.batch_size, channels, size, size, device=place).to(memory_format=torch.channels_last)
    labels = (torch.arange(len(images)) % 10).to(place)

    def by_hand() -> torch.Tensor:
        optimizer.zero_grad()
        with torch.autocast(place.type, torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return by_hand


def operations(step: Callable[[], object]) -> int:
    """Floating-point operations of one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def shares(step: Callable[[], object], count: int = 3) -> dict[str, float]:
    """Which operations the time goes to, largest first, as shares of all: the processor's, or the accelerator's."""
    place = devices.device()
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (place.type == "cuda")]
    with profile(activities=activities) as profiler:
        for _ in range(count):
            step()
        devices.wait(place)
    kind = "self_device_time_total" if place.type == "cuda" else "self_cpu_time_total"
    times = {event.key: getattr(event, kind) for event in profiler.key_averages()}
    total = sum(times.values())
    largest = sorted(times, key=lambda name: -times[name])[:SHOWN]
    return {name: round(times[name] / total, 3) for name in largest}


def measured(recipe: Recipe, steps: int, *, plain: bool) -> dict[str, Any]:
    session = opened(recipe, recipe.batch_size * 20)
    step = stepper(session, plain=plain)
    at_once = QUEUED if session.device.type == "cuda" else 1
    for _ in range(SKIPPED):
        step()
    work = operations(step)
    before = peak()
    times = [seconds(lambda: [step() for _ in range(at_once)]) / at_once for _ in range(max(1, steps // at_once))]
    best = max(before, peak())
    found = session.recipe
    median = statistics.median(times)
    return {
        "images_per_second": recipe.batch_size / statistics.mean(times), "operations_per_image": work / recipe.batch_size,
        "operations_per_second": work / median, "peak_operations_per_second": best, "share_of_peak": work / median / best,
        "precision": "bf16" if plain else found.precision, "layout": "channels_last" if plain else found.layout,
        "compiled": "off" if plain else found.compiled,
        "profile": shares(step),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", required=True, help="a preset")
    parser.add_argument("--set", action="append", default=[], metavar="K=V", help="change the recipe")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--plain", action="store_true", help="steps as one would write them by hand")
    options = parser.parse_args()
    recipe = override(presets.named(options.recipe), options.set)
    print(json.dumps(measured(parse(recipe.model_dump(mode="json")), options.steps, plain=options.plain)), flush=True)


if __name__ == "__main__":
    main()
