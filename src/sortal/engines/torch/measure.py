"""Choosing by measuring: precision and layout are whatever trains fastest on this machine for this network."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional

from sortal.engines.torch import device as devices
from sortal.engines.torch.compiling import compiled, step_begins
from sortal.engines.torch.losses import summed_loss
from sortal.engines.torch.network import Network
from sortal.engines.torch.precision import learning
from sortal.engines.torch.thaw import phases
from sortal.errors import MachineFailed, OutOfMemory
from sortal.recipe import Recipe

# Measuring costs a few steps, so the batch is cut to the pixels of so many photographs. Small images keep theirs: at 28 pixels
# a batch of 16 ranked the layouts the other way round than the batch of 128 that was then trained with.
PIXELS = 16 * 224 * 224
MOST = 128
"""Images that are measured with at most: from there on nothing changes but how long it takes."""
ENOUGH, MOST_TIMES = 0.5, 8
"""Seconds for which steps are repeated, and how often at most."""
HOPELESS = 2.0
"""A candidate whose first step takes so many times the best one's time is given up: no warm-up makes up for it."""
# A reduced precision has to earn its place; a coin toss between two timings should not decide.
WORTHWHILE = 1.15
LEAST = 60.0
"""Seconds of steps below which nobody asks whether compiling pays: compiling a network takes half a minute and more."""


def training_choice(recipe: Recipe, make: Callable[[], Network], *, size: int, classes: int) -> tuple[str, str, str]:
    """The fastest (precision, layout) for a training step of the recipe's network on the device, and why, with its figures.

    What the recipe says already is not measured. Each candidate takes one step to warm up and the better of two is counted. One
    that memory has no room for is out; where that is each of them, half as many images are tried.
    """
    precisions: list[str] = ["float32", _half()] if recipe.precision == "auto" else [recipe.precision]
    layouts: list[str] = ["nchw", "channels_last"] if recipe.layout == "auto" else [recipe.layout]
    count = batch_of(recipe.micro_batch or recipe.batch_size, size)
    candidates = _candidates(precisions, layouts)
    while not (rates := _rates(candidates, make, (count, size), classes)):
        if count == 1:
            raise MachineFailed("out of memory with one image at a time", hint="close other programs, or lower image_size")
        count //= 2
    best_precision, best_layout = max(rates, key=lambda pair: rates[pair] / (1 if pair[0] == "float32" else WORTHWHILE))
    told = ", ".join(f"{p} {layout} {rate:.0f}" for (p, layout), rate in rates.items())
    return best_precision, best_layout, f"measured images/s in training: {told}"


def compiling_choice(recipe: Recipe, make: Callable[[], Network], *, size: int, classes: int, shown: int) -> tuple[str, str]:
    """'on' if compiling the network wins back its own time while so many images are shown, else 'off'; and why.

    It is compiled anew for each side that images grow to and whenever something is thawed or frozen. A training that is over
    before the first time would be is not held up by measuring it.
    """
    count = batch_of(recipe.micro_batch or recipe.batch_size, size)
    network = make()
    kinds = len(phases(recipe, network)) * recipe.grow.sides(size)
    step = partial(_seconds_a_step, network, recipe.precision, recipe.layout, (count, size), classes, float("inf"))
    plain = step()
    if (whole := plain / count * shown) < LEAST:
        return "off", f"all steps together take about {whole:.0f} s here, no longer than compiling the network would"
    began = time.perf_counter()
    try:
        quicker = step(deterministic=recipe.deterministic)
    except Exception as error:  # whatever a compiler may say of a network that it cannot take: the training goes on without it
        return "off", f"it cannot be compiled here: {str(error).splitlines()[0]}"
    spent = (time.perf_counter() - began) * kinds
    won = (plain - quicker) / count * shown
    rates = f"measured images/s in training: {count / plain:.0f} as it is, {count / quicker:.0f} compiled"
    times = f" {kinds} times" if kinds > 1 else ""
    return "on" if won > spent else "off", f"{rates}, which{times} takes {spent:.0f} s and would win {max(0.0, won):.0f} s"


def _rates(
    candidates: list[tuple[str, str]], make: Callable[[], Network], count_and_size: tuple[int, int], classes: int
) -> dict[tuple[str, str], float]:
    """Images a second of each candidate that memory has room for."""
    count, _ = count_and_size
    rates: dict[tuple[str, str], float] = {}
    # The likeliest to be fast come first, so that the slow ones are given up early.
    for precision, layout in reversed(candidates):
        hopeless = HOPELESS * count / max(rates.values()) if rates else float("inf")
        try:
            rates[precision, layout] = count / _seconds_a_step(make(), precision, layout, count_and_size, classes, hopeless)
        except OutOfMemory:
            devices.release(devices.device())
    return rates


def batch_of(wanted: int, size: int) -> int:
    """Images that are measured with: so many, or fewer where that is more than it takes, or where they are large."""
    return max(1, min(wanted, MOST, PIXELS // size**2))


def _candidates(precisions: list[str], layouts: list[str]) -> list[tuple[str, str]]:
    # bf16 in the plain layout never won on any machine we tried, so it is timed only where the recipe leaves nothing else.
    pairs = [(precision, layout) for precision in precisions for layout in layouts]
    return [pair for pair in pairs if pair[0] == "float32" or pair[1] != "nchw"] or pairs


def _half() -> str:
    """The reduced precision that is tried: bf16, or fp16 on an accelerator from before it."""
    old = devices.accelerator() and not torch.cuda.is_bf16_supported(including_emulation=False)
    return "fp16" if old else "bf16"


def _seconds_a_step(
    model: Network,
    precision: str,
    layout: str,
    count_and_size: tuple[int, int],
    classes: int,
    hopeless: float,
    deterministic: bool | None = None,
) -> float:
    """Seconds that a training step takes; of the compiled network where `deterministic` says how it is to be compiled."""
    device = devices.device()
    count, size = count_and_size
    x = torch.rand((count, model.mean.shape[1], size, size), generator=torch.Generator().manual_seed(0)).to(device)
    labels = (torch.arange(count) % classes).to(device)
    model.to(device).train()
    if model.cut is not None:  # then it is trained on what stands there
        with torch.no_grad():
            x = model.before_cut(x)
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x

    learner = model if deterministic is None else compiled(model, device, deterministic=deterministic)

    def step() -> None:
        if learner is not model:
            step_begins(device)
        with devices.failures_explained(OutOfMemory):
            with learning(precision, device):
                loss = summed_loss(functional.cross_entropy, learner(x), labels)
            loss.backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)
        devices.wait(device)

    return best_of(step, hopeless=hopeless)


def best_of(action: Callable[[], object], *, times: int = 2, hopeless: float = float("inf")) -> float:
    """Seconds that an action takes, the best of several times after one that does not count; or that one, if it is hopeless."""
    began = time.perf_counter()
    action()  # warm-up: kernels are chosen and memory is laid out
    first = time.perf_counter() - began
    if first > hopeless:
        return first
    taken = list[float]()
    # Short steps are taken more often: where others are at work, a single one can come out several times too long.
    while len(taken) < times or (sum(taken) < ENOUGH and len(taken) < MOST_TIMES):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return min(taken)
