import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sortal.engines.torch.augment import augment
from sortal.recipe import Augment

EVERYTHING = Augment(
    crop="resized", flip=0.5, vertical_flip=0.5, rotate=20, translate=0.1, shear=10, zoom=0.2, fill="reflect",
    brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, rand_augment=2, rand_magnitude=9, erase=0.5,
)  # fmt: skip
BYTES = Augment(crop="padded", padding=3, flip=0.5, vertical_flip=0.5, brightness=0.2)
EACH = {
    "padded": Augment(crop="padded"),
    "resized": Augment(crop="resized"),
    "flip": Augment(flip=1.0),
    "vertical_flip": Augment(vertical_flip=1.0),
    "rotate": Augment(rotate=30),
    "translate": Augment(translate=0.2),
    "shear": Augment(shear=30),
    "zoom": Augment(zoom=0.3),
    "brightness": Augment(brightness=0.5),
    "contrast": Augment(contrast=0.5),
    "saturation": Augment(saturation=0.5),
    "hue": Augment(hue=0.5),
    "rand_augment": Augment(rand_augment=2),
    "erase": Augment(erase=1.0),
}


def pixels(n=6, side=20, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand(n, channels, 5, 5, generator=generator)
    images = torch.nn.functional.interpolate(smooth, size=(side, side), mode="bilinear", align_corners=False)
    return (images * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def keys(n):
    return np.arange(1000, 1000 + n, dtype=np.uint64)


def run(batch, spec, size=16, seed=0, epoch=0, rows=slice(None), **options):
    return augment(batch[rows], keys(len(batch))[rows], spec=spec, size=size, seed=seed, epoch=epoch, **options)


def test_nothing_asked_for_gives_the_centre_of_the_stored_pixels_exactly():
    batch = pixels()
    expected = batch[:, 2:18, 2:18].permute(0, 3, 1, 2).to(torch.float32) / 255
    assert torch.equal(run(batch, Augment()), expected)


@pytest.mark.parametrize("spec", [Augment(), BYTES, EVERYTHING])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_images_are_float32_in_0_to_1_of_the_size_and_layout_asked_for(spec, channels, channels_last):
    images = run(pixels(channels=channels), spec, channels_last=channels_last)
    assert images.shape == (6, channels, 16, 16)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert images.is_contiguous(memory_format=wanted)


@pytest.mark.parametrize("spec", [BYTES, EVERYTHING])
def test_the_layout_in_memory_does_not_change_the_images(spec):
    assert torch.equal(run(pixels(), spec), run(pixels(), spec, channels_last=True))


@pytest.mark.parametrize("name", EACH)
def test_each_field_changes_images_and_differs_between_samples_epochs_and_seeds(name):
    batch = pixels(1).expand(6, -1, -1, -1).contiguous()
    plain, varied = run(batch, Augment()), run(batch, EACH[name])
    assert (plain - varied).abs().amax(dim=(1, 2, 3)).gt(0.01).sum() >= 5
    if "flip" in name:
        return  # certain mirrors are the same for all
    assert len({images.numpy().tobytes() for images in varied}) >= 5
    assert not torch.equal(varied, run(batch, EACH[name], epoch=1))
    assert not torch.equal(varied, run(batch, EACH[name], seed=1))
    assert torch.equal(varied, run(batch, EACH[name]))


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6), st.sampled_from([BYTES, EVERYTHING]))
def test_what_happens_to_an_image_depends_neither_on_its_place_nor_on_its_company(order, count, spec):
    batch, rows = pixels(), list(order)[:count]
    assert torch.equal(run(batch, spec, rows=rows), run(batch, spec)[rows])


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_grey_images_have_neither_saturation_nor_hue(name):
    batch = pixels(channels=1)
    assert torch.equal(run(batch, EACH[name]), run(batch, Augment()))


def test_flips_of_half_probability_mirror_about_half_the_images():
    batch = pixels(1).expand(400, -1, -1, -1).contiguous()
    plain = run(batch[:1], Augment())[0]
    varied = run(batch, Augment(flip=0.5))
    mirrored = torch.tensor([torch.equal(image, plain.flip(2)) for image in varied])
    same = torch.tensor([torch.equal(image, plain) for image in varied])
    assert (mirrored ^ same).all()
    assert 160 < mirrored.sum() < 240


def test_a_mirror_inside_the_resampling_is_the_mirror_outside_of_it():
    batch = pixels()
    # A zoom too small to see sends the images through the interpolation.
    through_grid = run(batch, Augment(flip=1.0, vertical_flip=1.0, zoom=1e-9))
    assert torch.allclose(through_grid, run(batch, Augment(flip=1.0, vertical_flip=1.0)), atol=1e-4)


def test_padded_crops_join_with_turns():
    batch = pixels()
    through_grid = run(batch, Augment(crop="padded", padding=2, zoom=1e-9))
    assert torch.allclose(through_grid, run(batch, Augment(crop="padded", padding=2)), atol=1e-4)


def test_erased_rectangles_have_the_mean_colour():
    varied = run(pixels(), Augment(erase=1.0), mean=(0.1, 0.2, 0.3))
    plain = run(pixels(), Augment())
    changed = (varied != plain).any(dim=1)
    assert changed.any(dim=(1, 2)).all()
    for channel, colour in enumerate((0.1, 0.2, 0.3)):
        assert torch.allclose(varied[:, channel][changed], torch.tensor(colour))


def test_a_single_pixel_of_a_grey_image_is_enough():
    images = augment(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), keys(1), spec=BYTES, size=1, seed=0, epoch=0)
    assert images.shape == (1, 1, 1, 1)
