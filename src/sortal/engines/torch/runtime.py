"""Which runtime computes a frozen part fastest on this machine: measured in under a second, and only among those that agree."""

import os
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sortal.engines import openvino
from sortal.engines.onnx import chunk_size
from sortal.engines.torch import device as devices
from sortal.engines.torch.frozen import Run, TorchFrozen
from sortal.errors import BundleError, NotSupported, ParityError

SECONDS = 1.0
"""All candidates together are run for no longer; what making them takes (a graph, its compilation) comes on top."""
TIMED = 2  # runs of which the better counts, after one that does not; fewer where one is far behind
FAR_BEHIND = 2.0  # times the best: then the first run has said enough
CLOSE_ENOUGH = 0.02
"""Largest distance of an image's outputs from those in float32, as a share of their length, up to which a reduced precision may
stand in for them. The head is shipped with a graph that computes in float32: on features that are further off it would be
trained, and cross-validated, for another network. EfficientNet-Lite0 in bf16 is 0.03 to 0.1 off."""


@dataclass
class _Race:
    """What has been measured so far."""

    images: NDArray[np.uint8]
    rates: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    spent: float = 0.0

    def time(self, name: str, run: Run) -> None:
        """Run the images, again if it is worth it, and keep the best rate."""
        best = 0.0
        for number in range(1 + TIMED):
            began = time.perf_counter()
            run(self.images)
            seconds = time.perf_counter() - began
            self.spent += seconds
            rate = len(self.images) / seconds
            slow = bool(self.rates) and rate * FAR_BEHIND < max(self.rates.values())
            # The first run also chooses kernels and lays out memory, so it counts only where there is no other.
            best = rate if number <= 1 else max(best, rate)
            if slow or self.spent > SECONDS:
                break
        self.rates[name] = best

    @property
    def over(self) -> bool:
        return bool(self.rates) and self.spent > SECONDS

    def told(self) -> str:
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in self.rates.items())
        return "; ".join([f"measured images/s of the frozen part: {rates}", *self.remarks])


def fastest_runtime(frozen: TorchFrozen) -> tuple[str, str]:
    """The recipe's word for the fastest runtime of a frozen part here, and why, with the figures.

    On an accelerator that is torch, in bf16 if its outputs agree; on a processor ONNX Runtime or OpenVINO, or torch for what
    cannot be written as a graph. `torch.compile` is not among them: it takes half a minute to compile such a network once.
    """
    race = _Race(_images(frozen))
    exact = ["torch"] if devices.accelerator() else [*["openvino"] * openvino.installed(), "onnx"]
    reference: Run | None = None
    for name in exact:
        if race.over:
            race.remarks.append(f"{name} was not tried: the second for measuring was over")
            continue
        try:
            run = frozen.made(name)
        except (BundleError, NotSupported, ParityError, RuntimeError) as error:
            race.remarks.append(f"{name} cannot compute it: {str(error).splitlines()[0]}")
            continue
        reference = reference or run
        race.time(name, run)
    if reference is None:
        reference = frozen.made("torch")
        race.time("torch", reference)
    for name in _reduced(race):
        _try_reduced(race, frozen, name, reference)
    return max(race.rates, key=lambda name: race.rates[name]), race.told()


def _images(frozen: TorchFrozen) -> NDArray[np.uint8]:
    """A chunk for each core: blobs of colour, whose features are more like those of photographs than those of noise are."""
    size, _, channels = frozen.image_shape
    count = chunk_size(frozen.image_shape) * (1 if devices.accelerator() else frozen.recipe.threads or os.cpu_count() or 1)
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)
    place = np.arange(size) * 8 // size
    return np.ascontiguousarray(coarse[:, place][:, :, place])


def _reduced(race: _Race) -> list[str]:
    """The same runtimes in bf16, where the machine computes in it."""
    if devices.accelerator():
        return ["torch_bf16"]
    return ["openvino_bf16"] if "openvino" in race.rates and openvino.computes_bf16() else []


def _try_reduced(race: _Race, frozen: TorchFrozen, name: str, reference: Run) -> None:
    few = race.images[: chunk_size(race.images.shape[1:])][:4]
    run = frozen.made(name)
    off = furthest(run(few), reference(few))
    if not off <= CLOSE_ENOUGH:
        race.remarks.append(f"{name} was left out: its outputs are up to {off:.1%} from those in float32")
    elif not race.over:
        race.time(name, run)


def furthest(reduced_N: NDArray[np.float32], exact_N: NDArray[np.float32]) -> float:
    """The largest distance of one image's outputs, as a share of the length of the exact ones."""
    reduced_ND, exact_ND = reduced_N.reshape(len(reduced_N), -1), exact_N.reshape(len(exact_N), -1)
    lengths_N = np.maximum(np.linalg.norm(exact_ND, axis=1), 1e-12)
    return float((np.linalg.norm(reduced_ND - exact_ND, axis=1) / lengths_N).max())
