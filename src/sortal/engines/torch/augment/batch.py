"""Augment a batch: stored bytes in, varied images out, stage by stage in the recipe's order."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sortal.augment import order
from sortal.augment import policies as drawn
from sortal.augment.parameters import Position, between, coins, erase_boxes, factors, grid_knots, odd_lengths
from sortal.engines.torch.augment import colour, distortion, erasing, policies, quality, straight
from sortal.recipe import Augment


def augment(
    pixels_NRRC: Tensor,
    keys_N: NDArray[np.uint64],
    *,
    spec: Augment,
    size: int,
    seed: int,
    epoch: int,
    mean: Sequence[float] = (0.5,),
    channels_last: bool = False,
) -> Tensor:
    """Vary stored pixels, uint8 (N, R, R, C), and give float32 images (N, C, size, size) in 0..1, on the same device.

    What happens to a sample depends on (seed, epoch, its key) alone, not on its neighbours. `mean` is the colour in 0..1
    of erased rectangles, one number a channel or one for all: what normalisation subtracts, so that they become 0.
    Grey images (C = 1) have no saturation and no hue: those two leave them as they are, as in torchvision.
    """
    at = Position(seed, epoch, keys_N)
    chosen = order.chosen(at, spec)
    stages = order.stages(spec)
    move = partial(straight.moved, spec=spec, size=size, chosen=chosen)
    if stages[0][0] in order.STRAIGHT:
        # Colours are turned plane by plane, so the layout is made last where there are any.
        bytes_alone = all(stage == ("erase",) for stage in stages[1:])
        images = move(pixels_NRRC, at, stages.pop(0), channels_last=channels_last and bytes_alone)
    else:
        images = straight.planes(pixels_NRRC)
    for stage in stages:
        name = stage[0]
        if name in order.STRAIGHT:
            images = move(images.permute(0, 2, 3, 1), at, stage)
        elif name in chosen:
            images = _some(OPERATIONS[name], images, at, spec, mean, chosen[name])
        else:
            images = OPERATIONS[name](images, at, spec, mean)
    return images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


Operation = Callable[[Tensor, Position, Augment, Sequence[float]], Tensor]
"""Images (N, C, S, S) in 0..1 to images of the same shape; it may work in place."""


def _some(
    operation: Operation, images: Tensor, at: Position, spec: Augment, mean: Sequence[float], chosen_N: NDArray[np.bool_]
) -> Tensor:
    """The operation on the chosen images alone."""
    rows_M = np.flatnonzero(chosen_N)
    if not len(rows_M):
        return images
    rows = torch.from_numpy(rows_M).to(images.device)
    return images.index_copy(0, rows, operation(images.index_select(0, rows), at.only(rows_M), spec, mean))


def _elastic(images: Tensor, at: Position, spec: Augment, mean: Sequence[float]) -> Tensor:
    grains_ND = at.grains("elastic", 2 * images.shape[2] * images.shape[3])
    shifts = distortion.elastic_shifts(grains_ND, images, spec.elastic, spec.elastic_sigma)
    return distortion.elastic(images, shifts, spec.fill)


def _erase(images: Tensor, at: Position, spec: Augment, mean: Sequence[float]) -> Tensor:
    return erasing.blank(images, erase_boxes(at, images.shape[2], spec.erase, spec.erase_scale), mean)


def _grey(images: Tensor, at: Position, spec: Augment, mean: Sequence[float]) -> Tensor:
    return colour.greyed(images, coins(at, "grey", spec.grey))


def _noise(images: Tensor, at: Position, spec: Augment, mean: Sequence[float]) -> Tensor:
    return quality.noisy(images, between(at, "noise strength", *spec.noise), at.normals("noise", images[0].numel()))


def _motion_blur(images: Tensor, at: Position, spec: Augment, mean: Sequence[float]) -> Tensor:
    lengths_N = odd_lengths(at, "motion length", spec.motion_blur)
    return quality.motion_blurred(images, lengths_N, between(at, "motion", 0, np.pi))


OPERATIONS: dict[str, Operation] = {
    "optical": lambda x, at, spec, _: distortion.optical(x, between(at, "optical", -spec.optical, spec.optical), spec.fill),
    "grid": lambda x, at, spec, _: distortion.grid(x, grid_knots(at, spec.grid_steps, spec.grid), spec.fill),
    "elastic": _elastic,
    "brightness": lambda x, at, spec, _: colour.brightened(x, factors(at, "brightness", spec.brightness)),
    "contrast": lambda x, at, spec, _: colour.contrasted(x, factors(at, "contrast", spec.contrast)),
    "saturation": lambda x, at, spec, _: colour.saturated(x, factors(at, "saturation", spec.saturation)),
    "hue": lambda x, at, spec, _: colour.hue_turned(x, between(at, "hue", -spec.hue, spec.hue)),
    "grey": _grey,
    "auto_augment": lambda x, at, spec, _: policies.apply(
        x, drawn.auto_steps(at, policy=spec.auto_augment, side=x.shape[2])
    ),
    "rand_augment": lambda x, at, spec, _: policies.apply(
        x, drawn.rand_steps(at, count=spec.rand_augment, level=spec.rand_magnitude, side=x.shape[2])
    ),
    "trivial_augment": lambda x, at, spec, _: policies.apply(x, drawn.trivial_steps(at, side=x.shape[2])),
    "blur": lambda x, at, spec, _: quality.blurred(x, between(at, "blur", *spec.blur), quality.radius(spec.blur[1])),
    "motion_blur": _motion_blur,
    "noise": _noise,
    "erase": _erase,
}  # fmt: skip
"""What is done to images that are floats already, by the names of the recipe."""
