"""Distortions beside torchvision and beside albumentations' published definitions, written out for one image with SciPy."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from sortal.augment import parameters
from sortal.augment.parameters import Position
from sortal.engines.torch.augment import distortion

SIDE = 40
AT = Position(0, 0, np.arange(3, dtype=np.uint64))


def smooth_images(n=3, channels=3, detail=6):
    small = torch.rand(n, channels, detail, detail, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)


def read(image_HW, map_y, map_x):
    """An image read bilinearly at rows and columns, its nearest pixel beyond it: what OpenCV's remap does."""
    return ndimage.map_coordinates(image_HW.numpy(), [map_y, map_x], order=1, mode="nearest")


@pytest.mark.parametrize("k", [-0.3, -0.05, 0.05, 0.3])
def test_optical_distortion_is_its_definition_to_a_hundredth_of_a_shade(k):
    image = smooth_images(1)[0, 0]
    # OpenCV's undistortion map with focal lengths of a side and coefficients (k, k, 0, 0, 0), about the middle of the image;
    # albumentations' own centre, SIDE / 2, lies half a pixel beside it.
    middle = (SIDE - 1) / 2
    v, u = np.mgrid[:SIDE, :SIDE]
    x, y = (u - middle) / SIDE, (v - middle) / SIDE
    square = x**2 + y**2
    factor = 1 + k * square + k * square**2
    expected = read(image, y * factor * SIDE + middle, x * factor * SIDE + middle)
    ours = distortion.optical(smooth_images(1), np.array([k]), "nearest")[0, 0].numpy()
    assert abs(ours - expected).max() < 0.01 / 255
    assert abs(ours - image.numpy()).max() > (0.1 if abs(k) > 0.1 else 0.015)


def test_optical_distortion_leaves_the_centre_and_is_symmetric():
    image = smooth_images(1)
    ours = distortion.optical(image, np.array([0.4]), "reflect")
    turned = distortion.optical(image.rot90(1, (2, 3)), np.array([0.4]), "reflect")
    assert torch.allclose(ours.rot90(1, (2, 3)), turned, atol=1e-5)
    middle = slice(SIDE // 2 - 1, SIDE // 2 + 1)
    assert torch.allclose(ours[:, :, middle, middle], image[:, :, middle, middle], atol=1e-3)


@pytest.mark.parametrize("steps", [2, 5])
def test_grid_distortion_is_its_definition_to_a_hundredth_of_a_shade(steps):
    knots_N2K = parameters.grid_knots(AT, steps, 0.5)
    ours = distortion.grid(smooth_images(), knots_N2K, "nearest")
    for n in range(3):
        # albumentations' normalised form: lines of an even grid come from lines whose distances were stretched at random.
        lines = np.linspace(0, SIDE, steps + 1)
        columns, rows = (np.interp(np.arange(SIDE) + 0.5, lines, (knots + 1) / 2 * SIDE) - 0.5 for knots in knots_N2K[n])
        map_y, map_x = np.meshgrid(rows, columns, indexing="ij")
        for channel in range(3):
            expected = read(smooth_images()[n, channel], map_y, map_x)
            assert abs(ours[n, channel].numpy() - expected).max() < 0.01 / 255


def test_an_even_grid_changes_nothing():
    even = parameters.grid_knots(AT, 5, 0.0)
    assert torch.allclose(distortion.grid(smooth_images(), even, "constant"), smooth_images(), atol=1e-5)


def test_elastic_distortion_is_torchvisions_with_the_same_shifts():
    grains = AT.grains("elastic", 2 * SIDE * SIDE)
    shifts = distortion.elastic_shifts(grains, smooth_images(), 60.0, 3.0)
    ours = distortion.elastic(smooth_images(), shifts, "constant")
    for n in range(3):
        theirs = tv.elastic(smooth_images()[n], shifts[n : n + 1].permute(0, 2, 3, 1), fill=None)
        assert (ours[n] - theirs).abs().max() < 1e-5
    assert (ours - smooth_images()).abs().max() > 0.1


def test_shifts_of_elastic_distortion_are_torchvisions_with_the_same_random_numbers(monkeypatch):
    grains = AT.grains("elastic", 2 * SIDE * SIDE)
    ours = distortion.elastic_shifts(grains, smooth_images(), 60.0, 3.0)
    image = smooth_images()[0]
    for n in range(3):
        queue = [torch.from_numpy(field).reshape(1, 1, SIDE, SIDE) for field in grains[n].reshape(2, -1)]
        monkeypatch.setattr(torch, "rand", lambda *_, queue=queue: queue.pop(0))
        theirs = v2.ElasticTransform(alpha=60.0, sigma=3.0).make_params([image])["displacement"]
        monkeypatch.undo()
        assert (ours[n].permute(1, 2, 0) - theirs[0]).abs().max() < 1e-5


def test_what_a_lens_uncovers_is_filled_as_asked():
    white = torch.ones(1, 1, SIDE, SIDE)
    corners = {
        fill: distortion.optical(white, np.array([0.9]), fill)[0, 0, 0, 0] for fill in ("constant", "nearest", "reflect")
    }
    assert corners == {"constant": 0, "nearest": 1, "reflect": 1}
    ramp = torch.arange(SIDE).expand(1, 1, SIDE, SIDE) / SIDE
    nearest, reflect = (distortion.optical(ramp, np.array([0.9]), fill)[0, 0, 0, 0] for fill in ("nearest", "reflect"))
    assert nearest == 0
    assert reflect > 0.05
