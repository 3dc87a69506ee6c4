"""Corruptions do to pictures what they say, whatever their size, and to each picture alone."""

from itertools import pairwise

import numpy as np
import pytest

from sortal.augment.parameters import Position
from sortal.evaluation.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from sortal.evaluation.resampling import smooth

RANDOM = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "glass_blur",
    "elastic",
    "rotation",
    "crop",
    "motion_blur",
)
GROWING = tuple(name for name in CORRUPTIONS if name not in ("saturate", "elastic", "glass_blur", "pixelate"))
# Those left out change in kind, or their large pixels fall on an edge now and then.


def position(count: int) -> Position:
    return Position(0, 0, np.arange(count, dtype=np.uint64))


def pictures(count: int = 3, side: int = 48, channels: int = 3) -> np.ndarray:
    """Smooth coloured pictures with edges in them, like photographs."""
    random = np.random.default_rng(1)
    rough = random.random((count, side, side, channels), dtype=np.float32)
    images = smooth(rough, side / 12)
    images = (images - images.min()) / (images.max() - images.min()) * 0.7 + 0.1
    images[:, side // 4 : side // 2, side // 4 :] += 0.15
    return (images * 255).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("side", "channels"), [(8, 3), (32, 1), (48, 3)])
def test_every_corruption_keeps_the_form_of_images_of_any_size(name: str, side: int, channels: int) -> None:
    images = pictures(2, side, channels)
    before = images.copy()
    for strength in STRENGTHS:
        spoilt = corrupt(images, name, strength, position(2))
        assert (spoilt.shape, spoilt.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(images, before)  # the user's own pixels


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_happens_to_an_image_does_not_depend_on_its_company(name: str) -> None:
    images, at = pictures(3), position(3)
    alone = corrupt(images[1:2], name, 4, at.only(np.array([1])))
    together = corrupt(images, name, 4, at)[1:2]
    assert np.abs(alone.astype(int) - together).max() <= 1  # a product of matrices may round otherwise
    assert (alone == together).mean() > 0.999


@pytest.mark.parametrize("name", RANDOM)
def test_another_image_has_other_draws(name: str) -> None:
    same = np.repeat(pictures(1), 8, axis=0)
    spoilt = corrupt(same, name, 4, position(8))
    assert any((spoilt[0] != other).any() for other in spoilt[1:])


@pytest.mark.parametrize("name", GROWING)
def test_a_higher_strength_spoils_more(name: str) -> None:
    images = pictures(4, 96)
    far = [np.abs(corrupt(images, name, strength, position(4)).astype(int) - images).mean() for strength in STRENGTHS]
    assert far[0] > 0
    assert all(later >= 0.98 * earlier for earlier, later in pairwise(far)), far
    assert far[-1] > 1.2 * far[0], far


def test_the_numbers_are_the_published_ones_at_the_published_sides() -> None:
    assert CORRUPTIONS["gaussian_noise"].scaled(5, 224) == (0.38,)
    assert CORRUPTIONS["gaussian_noise"].scaled(1, 32) == (0.04,)
    assert CORRUPTIONS["jpeg"].scaled(1, 224) == (25,)
    assert CORRUPTIONS["defocus_blur"].scaled(5, 224) == (10, 0.5)
    assert CORRUPTIONS["elastic"].scaled(2, 224) == pytest.approx((488 / 224, 244 * 0.08 / 224, 244 * 0.2 / 224))


def test_between_the_published_sides_numbers_lie_between_and_beyond_them_only_lengths_go_on() -> None:
    noise, blur = CORRUPTIONS["gaussian_noise"], CORRUPTIONS["gaussian_blur"]
    assert 0.04 < noise.scaled(1, 85)[0] < 0.08
    assert noise.scaled(1, 448) == noise.scaled(1, 224)
    assert blur.scaled(5, 448) == (12,)
    assert blur.scaled(5, 16) == (0.5,)


def test_noise_has_the_deviation_it_says() -> None:
    grey = np.full((2, 224, 224, 3), 128, np.uint8)
    for name, sigma in (
        ("gaussian_noise", 0.08 * 255),
        ("speckle_noise", 0.15 * 128),
        ("shot_noise", np.sqrt(128 / 255 / 60) * 255),
    ):
        spoilt = corrupt(grey, name, 1, position(2)).astype(float)
        assert spoilt.mean() == pytest.approx(128, abs=1), name
        assert spoilt.std() == pytest.approx(sigma, rel=0.03), name


def test_photons_follow_poissons_law() -> None:
    """At three photons a white pixel, a grey level of 170 gets two on average; none at all in one of e^2."""
    images = np.full((1, 224, 224, 3), 170, np.uint8)
    spoilt = corrupt(images, "shot_noise", 5, position(1))
    assert (spoilt == 0).mean() == pytest.approx(np.exp(-2), abs=0.005)
    assert (spoilt == 85).mean() == pytest.approx(2 * np.exp(-2), abs=0.005)


def test_impulses_are_black_and_white_in_the_published_share() -> None:
    spoilt = corrupt(np.full((1, 224, 224, 3), 100, np.uint8), "impulse_noise", 5, position(1))
    assert (spoilt == 0).mean() == pytest.approx(0.135, abs=0.005)
    assert (spoilt == 255).mean() == pytest.approx(0.135, abs=0.005)


@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur", "glass_blur"])
def test_a_blur_leaves_an_even_picture_as_it_is_up_to_its_border(name: str) -> None:
    even = np.full((2, 40, 40, 3), 90, np.uint8)
    for strength in STRENGTHS:
        np.testing.assert_array_equal(corrupt(even, name, strength, position(2)), even)


@pytest.mark.parametrize(("name", "sideways"), [("gaussian_blur", False), ("defocus_blur", False), ("motion_blur", True)])
def test_a_blur_spreads_a_point_about_its_place(name: str, sideways: bool) -> None:
    point = np.zeros((6, 65, 65, 1), np.uint8)
    point[:, 32, 32] = 255
    spread = corrupt(point, name, 5, position(6))[..., 0].astype(float)
    assert (spread.sum(axis=(1, 2)) > 0.7 * 255).all()
    rows, columns = np.mgrid[0:65, 0:65] - 32
    middle_row = (spread * rows).sum(axis=(1, 2)) / spread.sum(axis=(1, 2))
    middle_column = (spread * columns).sum(axis=(1, 2)) / spread.sum(axis=(1, 2))
    if sideways:  # along a line that leads off to one side, up and down as drawn
        assert (middle_column > 1).all()
        assert middle_row.min() < -0.3
        assert middle_row.max() > 0.3
    else:
        np.testing.assert_allclose((middle_row, middle_column), 0, atol=0.05)


def test_colours_fade_then_glow_and_grey_stays_grey() -> None:
    images = np.full((1, 224, 224, 3), 90, np.uint8)
    images[:, :, :112] = (120, 90, 60)
    paler, stronger = corrupt(images, "saturate", 1, position(1)), corrupt(images, "saturate", 5, position(1))
    assert np.ptp(paler[0, 0, 0].astype(int)) < 60 < np.ptp(stronger[0, 0, 0].astype(int))
    assert paler[0, 0, 0].max() == stronger[0, 0, 0].max() == 120
    assert (stronger[0, 0, 200] == 90).all()


def test_brightness_raises_the_value_and_keeps_the_hue() -> None:
    images = np.full((1, 224, 224, 3), (120, 90, 60), np.uint8)
    np.testing.assert_allclose(
        corrupt(images, "brightness", 2, position(1))[0, 0, 0], np.array([120, 90, 60]) * 171 / 120, atol=1
    )
    assert (corrupt(np.zeros_like(images), "brightness", 2, position(1)) == 51).all()


def test_contrast_shrinks_about_the_mean_of_each_channel() -> None:
    images = pictures(2, 224)
    spoilt = corrupt(images, "contrast", 3, position(2)).astype(float)
    np.testing.assert_allclose(spoilt.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=0.6)
    np.testing.assert_allclose(spoilt.std(axis=(1, 2)), 0.2 * images.std(axis=(1, 2)), rtol=0.05)


def test_a_turn_is_a_turn_by_the_angle_it_says() -> None:
    side, place = 101, 70
    images = np.zeros((4, side, side, 1), np.uint8)
    images[:, 49:52, place - 1 : place + 2] = 255
    turned = corrupt(images, "rotation", 5, position(4))[..., 0].astype(float)
    for image in turned:
        rows, columns = np.nonzero(image > 100)
        found = np.rad2deg(np.arctan2(rows.mean() - 50, columns.mean() - 50))
        assert abs(found) == pytest.approx(45, abs=3)


def test_a_crop_shows_a_part_that_lies_inside() -> None:
    side = 100
    columns = np.broadcast_to(np.arange(side, dtype=np.uint8)[None, None, :, None], (6, side, side, 1)).copy()
    cropped = corrupt(columns, "crop", 5, position(6))[..., 0].astype(int)
    assert cropped[:, :, -1] - cropped[:, :, 0] == pytest.approx(49, abs=2)
    assert len(set(cropped[:, 0, 0].tolist())) > 1
    assert cropped.min() >= 0


def test_an_unknown_corruption_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        corrupt(pictures(1), "snow", 1, position(1))
