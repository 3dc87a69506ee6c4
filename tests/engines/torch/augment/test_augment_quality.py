"""Noise and blurs, beside torchvision, Pillow, SciPy and the definition that albumentations gives of a motion blur."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage, stats
from torchvision.transforms.v2 import functional as tv

from sortal.augment.parameters import Position
from sortal.engines.torch.augment import quality

SHADE = 1 / 255


def images(n=4, channels=3, side=24):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def numbers(*values):
    return np.array(values, dtype=float)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("reach", [1, 3, 6])
def test_a_gaussian_blur_is_torchvisions_to_a_hundredth_of_a_shade(channels, reach):
    sigmas = numbers(0.3, 0.8, 1.5, 4.0)
    ours = quality.blurred(images(channels=channels), sigmas, reach)
    side = 2 * reach + 1
    theirs = [
        tv.gaussian_blur(image, [side, side], [sigma]) for image, sigma in zip(images(channels=channels), sigmas, strict=True)
    ]
    assert (ours - torch.stack(theirs)).abs().max() < 0.01 * SHADE


def test_a_gaussian_blur_is_pillows_to_two_shades_away_from_the_border():
    smooth = torch.nn.functional.interpolate(images(1, side=8), size=(48, 48), mode="bilinear")
    shown = Image.fromarray((smooth[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    # Pillow puts three box filters for a Gaussian, and repeats the border where we mirror it.
    expected = np.asarray(shown.filter(ImageFilter.GaussianBlur(2.0))).astype(float)
    ours = quality.blurred(smooth, numbers(2.0), quality.radius(2.0))[0].permute(1, 2, 0).numpy() * 255
    assert abs(ours - expected)[8:-8, 8:-8].max() < 2


def test_a_gaussian_of_no_width_changes_nothing():
    assert torch.equal(quality.blurred(images(), numbers(0, 0, 0, 0), 2), images())


def test_a_blur_may_reach_further_than_the_image():
    blurred = quality.blurred(images(side=3), numbers(9, 9, 9, 9), 27)
    assert (blurred.amax(dim=(2, 3)) - blurred.amin(dim=(2, 3))).max() < 0.1


def line_kernel(length, angle):
    """albumentations' motion blur, centred: a line of one pixel's width across a square of zeros, divided by its sum."""
    kernel = Image.new("L", (length, length))
    half = length // 2
    along = np.array([np.cos(angle), np.sin(angle)])
    end = np.rint(half * along / abs(along).max()).astype(int)
    ImageDraw.Draw(kernel).line([*(half - end).tolist(), *(half + end).tolist()], fill=1, width=1)
    array = np.asarray(kernel).astype(float)
    return array / array.sum()


@pytest.mark.parametrize("length", [3, 7])
@pytest.mark.parametrize("angle", [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4])
def test_a_motion_blur_along_rows_columns_and_diagonals_is_its_definitions_to_a_hundredth_of_a_shade(length, angle):
    kernel = line_kernel(length, angle)
    assert (kernel > 0).sum() == length
    expected = ndimage.convolve(images(1, 1)[0, 0].numpy(), kernel, mode="mirror")
    ours = quality.motion_blurred(images(1, 1), np.array([length]), numbers(angle))[0, 0].numpy()
    assert abs(ours - expected).max() < 0.01 * SHADE


@pytest.mark.parametrize("angle", [0.3, 1.0, 2.0, 2.8])
def test_a_motion_blur_in_any_direction_is_that_of_a_line_drawn_by_hand_to_a_hundredth_of_a_shade(angle):
    length, half = 9, 4
    kernel = np.zeros((length, length))
    x, y = np.cos(angle), np.sin(angle)
    for step in range(-half, half + 1):
        along = step / max(abs(x), abs(y))
        kernel[half + round(along * y), half + round(along * x)] += 1 / length
    assert (kernel > 0).sum() == length
    expected = ndimage.correlate(images(1, 1)[0, 0].numpy(), kernel, mode="mirror")
    ours = quality.motion_blurred(images(1, 1), np.array([length]), numbers(angle))[0, 0].numpy()
    assert abs(ours - expected).max() < 0.01 * SHADE


def test_each_image_of_a_batch_has_a_motion_of_its_own():
    lengths, angles = np.array([3, 9, 5, 7]), numbers(0, 1, 2, 3)
    together = quality.motion_blurred(images(), lengths, angles)
    for n in range(4):
        alone = quality.motion_blurred(images()[n : n + 1], lengths[n : n + 1], angles[n : n + 1])
        assert torch.equal(together[n], alone[0])


def test_noise_is_normal_with_the_deviation_asked_for_and_differs_between_pixels_channels_and_images():
    grey = torch.full((4, 3, 64, 64), 0.5)
    normals = Position(0, 0, np.arange(4, dtype=np.uint64)).normals("noise", 3 * 64 * 64)
    noise = quality.noisy(grey, numbers(0.0, 0.02, 0.05, 0.1), normals) - grey
    assert not noise[0].any()
    for n, sigma in enumerate([0.02, 0.05, 0.1], start=1):
        assert stats.kstest(noise[n].flatten().numpy() / sigma, "norm").pvalue > 0.01
    flat = noise[1:].reshape(9, -1).numpy()
    assert abs(np.corrcoef(flat) - np.eye(9)).max() < 0.06


def test_noise_is_torchvisions_where_that_draws_the_same_numbers(monkeypatch):
    normals = Position(0, 0, np.arange(4, dtype=np.uint64)).normals("noise", 3 * 24 * 24)
    monkeypatch.setattr(torch, "randn_like", lambda image: torch.from_numpy(normals).reshape(image.shape))
    theirs = tv.gaussian_noise(images(), mean=0.0, sigma=0.3, clip=True)
    ours = quality.noisy(images(), np.full(4, 0.3), normals)
    assert (ours - theirs).abs().max() < 0.01 * SHADE
    assert ours.min() == 0
    assert ours.max() == 1
