import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from sortal.health.same import SAME, likeness, likeness_when_cut

PAIR = np.array([[0, 1]])


def picture(seed: int, side: int = 160) -> Image.Image:
    """Blobs of light on a slope: detail at several sizes."""
    random = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(random.integers(0, 256, (n, n), dtype=np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        )
        for n in (4, 9, 18)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8))


def thumbs(*images: Image.Image) -> np.ndarray:
    return np.stack([np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)) for image in images])


def as_is(one: Image.Image, other: Image.Image, *, mirrored: bool = False) -> float:
    return float(likeness(thumbs(one, other), PAIR, np.array([mirrored]))[0])


def cut(one: Image.Image, other: Image.Image, *, mirrored: bool = False) -> float:
    return float(likeness_when_cut(thumbs(one, other), PAIR, np.array([mirrored]))[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((60, 60)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.7),
        lambda image: ImageEnhance.Brightness(image).enhance(1.2),
        lambda image: ImageEnhance.Contrast(image).enhance(0.6),
        lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    ],
)
def test_resized_lighter_and_softer_copies_are_the_same(change):
    assert as_is(picture(1), change(picture(1))) > SAME


def test_strangers_are_not_the_same_in_any_cut():
    for seed in range(2, 12):
        assert as_is(picture(1), picture(seed)) < 0.6
        assert cut(picture(1), picture(seed)) < 0.8


def test_a_mirrored_copy_is_the_same_only_when_mirrored():
    image = picture(1)
    assert as_is(image, ImageOps.mirror(image), mirrored=True) > 0.99
    assert as_is(image, ImageOps.mirror(image)) < 0.6


@pytest.mark.parametrize("box", [(0, 0, 140, 140), (20, 10, 160, 150), (8, 8, 152, 152)])
def test_a_copy_cut_by_a_tenth_is_found_as_a_cut_of_either_and_not_as_it_is(box):
    image = picture(1)
    part = image.crop(box)
    assert as_is(image, part) < SAME
    assert cut(image, part) > SAME
    assert cut(part, image) > SAME
    assert cut(ImageOps.mirror(image), part, mirrored=True) > SAME


def test_half_of_a_picture_is_no_small_cut():
    image = picture(1)
    assert cut(image, image.crop((0, 0, 80, 80))) < SAME


def test_even_pictures_are_like_nothing_not_even_each_other():
    grey, white = Image.new("L", (32, 32), 90), Image.new("L", (32, 32), 255)
    assert as_is(grey, white) == as_is(grey, grey) == as_is(grey, picture(1)) == 0


def test_no_pairs_give_no_figures():
    none, flags = np.empty((0, 2), np.int64), np.empty(0, bool)
    assert likeness(thumbs(picture(1)), none, flags).shape == (0,)
    assert likeness_when_cut(thumbs(picture(1)), none, flags).shape == (0,)
