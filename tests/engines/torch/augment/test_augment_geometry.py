import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from sortal.augment import parameters
from sortal.engines.torch.augment import geometry


def bytes_image(n, side, seed=0):
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def smooth_image(n, side, detail=6):
    small = torch.rand(n, 3, detail, detail, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic").clamp(0, 1)


def one(*values):
    return [np.array([value], dtype=float) for value in values]


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("shift", [(0, 0), (-4, 4), (3, -2)])
def test_padded_crops_are_exactly_those_of_torchvision(mode, shift):
    batch = bytes_image(3, 16)
    ours = geometry.shifted(batch, np.array([shift] * 3), 16, 4, mode)
    padded = tv.pad(batch.permute(0, 3, 1, 2), [4, 4, 4, 4], padding_mode=mode)
    theirs = tv.crop(padded, top=4 + shift[0], left=4 + shift[1], height=16, width=16)
    assert torch.equal(ours.permute(0, 3, 1, 2), theirs)


def test_each_image_of_a_batch_gets_its_own_shift():
    batch = bytes_image(2, 8)
    ours = geometry.shifted(batch, np.array([[1, 0], [0, -1]]), 8, 1, "constant")
    assert torch.equal(ours[0, :7], batch[0, 1:])
    assert torch.equal(ours[1, :, 1:], batch[1, :, :7])
    assert not ours[0, 7].any()


def test_reflections_go_on_beyond_the_width_of_the_image():
    batch = torch.tensor([[0, 1, 2]], dtype=torch.uint8).repeat(3, 1)[None, :, :, None]
    ours = geometry.shifted(batch, np.array([[0, -5]]), 3, 5, "reflect")
    assert ours[0, 0, :, 0].tolist() == [1, 0, 1]  # ... 1 0 1 2 1 [0 1 2] ... read from five to the left


def test_shifted_crops_of_larger_stored_pixels_show_what_is_there():
    batch = bytes_image(1, 12)
    assert torch.equal(geometry.shifted(batch, np.array([[2, -1]]), 8, 2, "constant"), batch[:, 4:12, 1:9])


@pytest.mark.parametrize("dim", [1, 2])
def test_mirrors_are_exactly_those_of_torchvision(dim):
    batch = bytes_image(3, 5)
    ours = geometry.mirrored(batch, np.array([True, False, True]), dim)
    flip = tv.vertical_flip if dim == 1 else tv.horizontal_flip
    assert torch.equal(ours[0].permute(2, 0, 1), flip(batch[0].permute(2, 0, 1)))
    assert torch.equal(ours[1], batch[1])
    assert not torch.equal(ours, batch)


@pytest.mark.parametrize("box", [(0, 0, 64, 64), (10, 5, 40, 50), (20, 30, 24, 17)])
def test_resized_crops_agree_with_torchvision_to_three_shades_of_256(box):
    images = smooth_image(2, 64)
    ours = geometry.resampled(images, parameters.box_matrices(np.array([box] * 2), 64), 48, "reflect")
    theirs = tv.resized_crop(images, *box, size=[48, 48], antialias=True)
    # Beyond the box we see the rest of the image where torchvision repeats its edge: half a pixel, along the border.
    assert (ours - theirs)[:, :, 1:-1, 1:-1].abs().max() < 3 / 256


def test_strong_reductions_are_averaged_against_aliasing():
    images = bytes_image(1, 128).permute(0, 3, 1, 2) / 255  # white noise, the worst case
    whole = parameters.box_matrices(np.array([[0, 0, 128, 128]]), 128)
    theirs = tv.resize(images, [32, 32], antialias=True)
    ours = geometry.resampled(images, whole, 32, "reflect")
    aliased = tv.resize(images, [32, 32], antialias=False)
    assert (ours - theirs).std() < 0.4 * (aliased - theirs).std()


@pytest.mark.parametrize(
    ("angle", "pixels", "zoom", "shear"),
    [
        (25, (0, 0), 1, 0),
        (0, (6, -4), 1, 0),
        (0, (0, 0), 1.3, 0),
        (0, (0, 0), 0.7, 0),
        (0, (0, 0), 1, 25),
        (-40, (3, 5), 0.9, 12),
    ],
)
def test_turn_shift_zoom_and_shear_agree_with_torchvision(angle, pixels, zoom, shear):
    images = smooth_image(1, 32)
    matrix = parameters.inverse_affine(*one(angle, [p / 32 for p in pixels], zoom, shear))
    ours = geometry.resampled(images, matrix, 32, "constant")
    theirs = tv.affine(images, angle=angle, translate=list(pixels), scale=zoom, shear=[shear, 0],
                       interpolation=tv.InterpolationMode.BILINEAR)  # fmt: skip
    assert (ours - theirs).abs().max() < 1e-3
    assert (ours - images).abs().max() > 0.05


@pytest.mark.parametrize(
    ("fill", "expected"), [("constant", [0, 0, 0, 0.1]), ("nearest", [0.1, 0.1, 0.1, 0.1]), ("reflect", [0.3, 0.2, 0.1, 0.1])]
)
def test_uncovered_parts_are_filled_as_asked(fill, expected):
    images = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).expand(1, 1, 6, 6).contiguous()
    half_a_side_to_the_right = parameters.inverse_affine(*one(0, (0.5, 0), 1, 0))
    moved = geometry.resampled(images, half_a_side_to_the_right, 6, fill)
    assert torch.allclose(moved[0, 0, 3, :4], torch.tensor(expected, dtype=torch.float32), atol=1e-5)


def test_padded_crops_filled_with_the_nearest_pixel_are_exactly_torchvisions():
    batch = bytes_image(3, 16)
    ours = geometry.shifted(batch, np.array([[3, -4]] * 3), 16, 4, "nearest")
    padded = tv.pad(batch.permute(0, 3, 1, 2), [4, 4, 4, 4], padding_mode="edge")
    assert torch.equal(ours.permute(0, 3, 1, 2), tv.crop(padded, top=7, left=0, height=16, width=16))


def test_quarter_turns_are_exactly_those_of_torchvision():
    batch = bytes_image(5, 7)
    ours = geometry.quarter_turned(batch, np.array([0, 1, 2, 3, 1])).permute(0, 3, 1, 2)
    for n, turns in enumerate([0, 1, 2, 3, 1]):
        assert torch.equal(ours[n], tv.rotate(batch[n].permute(2, 0, 1), angle=90 * turns))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_quarter_turns_inside_an_interpolation_are_those_outside_of_it(turns):
    images = smooth_image(1, 9)
    matrix = parameters.quarter_turn_matrices(np.array([turns]))
    assert torch.allclose(geometry.resampled(images, matrix, 9, "constant"), images.rot90(turns, (2, 3)), atol=1e-5)
