"""Stages that move an image without bending it: as copies of pixels where that is enough, else as one interpolation."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sortal.augment import order, parameters
from sortal.augment.order import Chosen, Stage
from sortal.augment.parameters import Boxes, Floats, Position
from sortal.engines.torch.augment import geometry
from sortal.recipe import Augment

MIRRORS = {"flip": 0, "vertical_flip": 1}
"""The axis, x or y, along which each mirror turns an image round."""


def moved(
    pixels_NRRC: Tensor,
    at: Position,
    stage: Stage,
    *,
    spec: Augment,
    size: int,
    chosen: Chosen,
    channels_last: bool = False,
) -> Tensor:
    """Images (N, R, R, C), bytes or floats, after the stage's operations: float32 (N, C, size, size) in 0..1.

    Without a crop in the stage they keep their side. Operations with an entry in `chosen` leave the other images alone.
    """
    if order.by_copying(stage, spec):
        return planes(_copied(pixels_NRRC, at, stage, spec, size, chosen), channels_last=channels_last)
    return _resampled(pixels_NRRC, at, stage, spec, size, chosen)


def planes(pixels_NHWC: Tensor, *, channels_last: bool = False) -> Tensor:
    """float32 (N, C, H, W) in 0..1, of bytes or of floats that are it already."""
    if pixels_NHWC.dtype == torch.uint8:
        return geometry.to_float(pixels_NHWC, channels_last=channels_last)
    return pixels_NHWC.permute(0, 3, 1, 2).contiguous()


def _copied(pixels: Tensor, at: Position, stage: Stage, spec: Augment, size: int, chosen: Chosen) -> Tensor:
    """Crops, mirrors and right angles, which is several times faster than resampling floats."""
    for name in stage:
        if name == "crop":
            pixels = _cropped(pixels, at, spec, size, chosen)
        elif name == "quarter_turns":
            pixels = geometry.quarter_turned(pixels, _turns(at, spec, chosen))
        else:
            pixels = geometry.mirrored(pixels, _coins(at, name, spec, chosen), dim=2 - MIRRORS[name])
    return pixels


def _cropped(pixels: Tensor, at: Position, spec: Augment, size: int, chosen: Chosen) -> Tensor:
    if spec.crop == "padded":
        shifts_N2 = parameters.shifts(at, spec.padding)
        if "crop" in chosen:
            shifts_N2[~chosen["crop"]] = 0
        return geometry.shifted(pixels, shifts_N2, size, spec.padding, spec.padding_mode)
    low = (pixels.shape[1] - size) // 2
    return pixels[:, low : low + size, low : low + size]


def _resampled(pixels: Tensor, at: Position, stage: Stage, spec: Augment, size: int, chosen: Chosen) -> Tensor:
    """One matrix a sample, so that pixels are interpolated once."""
    if stage[0] == "crop" and spec.crop == "padded":
        pixels, stage = _cropped(pixels, at, spec, size, chosen), stage[1:]
    side = pixels.shape[1]
    matrix_N33 = np.tile(np.eye(3), (len(at), 1, 1))
    for names in order.stretches(stage, chosen):
        matrix_N33 = matrix_N33 @ _matrices(at, names, spec, size, side, chosen)
    return geometry.resampled(planes(pixels), matrix_N33, size if "crop" in stage else side, spec.fill)


def _matrices(at: Position, names: Stage, spec: Augment, size: int, side: int, chosen: Chosen) -> Floats:
    """Matrices of shape (N, 3, 3) from places after an operation, or a few affine ones, to places before."""
    name = names[0]
    if name == "crop":
        return parameters.box_matrices(_boxes(at, spec, size, side, chosen), side)
    if name == "quarter_turns":
        return parameters.quarter_turn_matrices(_turns(at, spec, chosen))
    if name in MIRRORS:
        return parameters.mirror_matrices(_coins(at, name, spec, chosen), MIRRORS[name])
    strengths = {affine: getattr(spec, affine) if affine in names else 0.0 for affine in order.AFFINE}
    matrix_N33 = parameters.affine(at, **strengths)
    if name in chosen:
        matrix_N33[~chosen[name]] = np.eye(3)
    return matrix_N33


def _boxes(at: Position, spec: Augment, size: int, side: int, chosen: Chosen) -> Boxes:
    low = (side - size) // 2
    centre_N4 = np.tile(np.array([low, low, size, size], dtype=np.int64), (len(at), 1))
    if spec.crop != "resized":
        return centre_N4
    boxes_N4 = parameters.crop_boxes(at, side, spec.scale, spec.ratio)
    return np.where(chosen["crop"][:, None], boxes_N4, centre_N4) if "crop" in chosen else boxes_N4


def _coins(at: Position, name: str, spec: Augment, chosen: Chosen) -> NDArray[np.bool_]:
    if name == "flip" and spec.alternate_flip:
        heads_N = parameters.alternating(at, name)
    else:
        heads_N = parameters.coins(at, name, getattr(spec, name))
    return heads_N & chosen[name] if name in chosen else heads_N


def _turns(at: Position, spec: Augment, chosen: Chosen) -> NDArray[np.int64]:
    turns_N = parameters.quarter_turns(at, spec.quarter_turns)
    return np.where(chosen["quarter_turns"], turns_N, 0) if "quarter_turns" in chosen else turns_N
