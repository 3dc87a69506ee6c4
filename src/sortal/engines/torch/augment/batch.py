"""Augment a batch: stored bytes in, varied images out, in the order in which the recipe's fields stand."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sortal.augment import parameters
from sortal.augment.parameters import Position
from sortal.engines.torch.augment import colour, erasing, geometry, randaugment
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
    if spec.crop == "resized" or spec.rotate or spec.translate or spec.shear or spec.zoom:
        images = _resampled(pixels_NRRC, at, spec, size)
    else:
        # Colours are turned plane by plane, so the layout is made last where there is any.
        bytes_alone = not (spec.brightness or spec.contrast or spec.saturation or spec.hue or spec.rand_augment)
        pixels = _shifted_and_mirrored(pixels_NRRC, at, spec, size)
        images = geometry.to_float(pixels, channels_last=channels_last and bytes_alone)
    images = _recoloured(images, at, spec)
    if spec.rand_augment:
        images = randaugment.apply(images, at, count=spec.rand_augment, level=spec.rand_magnitude)
    if spec.erase:
        boxes_N4 = parameters.erase_boxes(at, size, spec.erase, spec.erase_scale)
        images = erasing.blank(images, boxes_N4, mean)
    return images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _shifted_and_mirrored(pixels_NRRC: Tensor, at: Position, spec: Augment, size: int) -> Tensor:
    """Crops and mirrors as copies of bytes, which is several times faster than resampling floats."""
    if spec.crop == "padded":
        pixels = geometry.shifted(pixels_NRRC, parameters.shifts(at, spec.padding), size, spec.padding, spec.padding_mode)
    else:
        low = (pixels_NRRC.shape[1] - size) // 2
        pixels = pixels_NRRC[:, low : low + size, low : low + size]
    if spec.flip:
        pixels = geometry.mirrored(pixels, parameters.coins(at, "flip", spec.flip), dim=2)
    if spec.vertical_flip:
        pixels = geometry.mirrored(pixels, parameters.coins(at, "vertical_flip", spec.vertical_flip), dim=1)
    return pixels


def _resampled(pixels_NRRC: Tensor, at: Position, spec: Augment, size: int) -> Tensor:
    """Crop, mirrors, turn, shift, shear and zoom as one matrix a sample, so that pixels are interpolated once."""
    if spec.crop == "padded":
        pixels_NRRC = geometry.shifted(pixels_NRRC, parameters.shifts(at, spec.padding), size, spec.padding, spec.padding_mode)
    side = pixels_NRRC.shape[1]
    if spec.crop == "resized":
        boxes_N4 = parameters.crop_boxes(at, side, spec.scale, spec.ratio)
    else:
        low = (side - size) // 2
        boxes_N4 = np.tile(np.array([low, low, size, size], dtype=np.int64), (len(at), 1))
    matrix_N33 = parameters.box_matrices(boxes_N4, side)
    for axis, (name, probability) in enumerate([("flip", spec.flip), ("vertical_flip", spec.vertical_flip)]):
        if probability:
            matrix_N33[parameters.coins(at, name, probability), :, axis] *= -1
    if spec.rotate or spec.translate or spec.shear or spec.zoom:
        matrix_N33 = matrix_N33 @ parameters.affine(
            at, rotate=spec.rotate, translate=spec.translate, shear=spec.shear, zoom=spec.zoom
        )
    return geometry.resampled(geometry.to_float(pixels_NRRC), matrix_N33, size, spec.fill)


def _recoloured(images: Tensor, at: Position, spec: Augment) -> Tensor:
    if spec.brightness:
        images = colour.brightened(images, parameters.factors(at, "brightness", spec.brightness))
    if spec.contrast:
        images = colour.contrasted(images, parameters.factors(at, "contrast", spec.contrast))
    if spec.saturation:
        images = colour.saturated(images, parameters.factors(at, "saturation", spec.saturation))
    if spec.hue:
        images = colour.hue_turned(images, parameters.between(at, "hue", -spec.hue, spec.hue))
    return images
