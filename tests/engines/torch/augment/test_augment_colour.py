import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torchvision.transforms.v2 import functional as tv

from sortal.engines.torch.augment import colour

CASES = {
    "brightness": (colour.brightened, tv.adjust_brightness, [0.0, 0.4, 1.0, 1.9]),
    "contrast": (colour.contrasted, tv.adjust_contrast, [0.0, 0.4, 1.0, 1.9]),
    "saturation": (colour.saturated, tv.adjust_saturation, [0.0, 0.4, 1.0, 1.9]),
    "hue": (colour.hue_turned, tv.adjust_hue, [-0.5, -0.2, 0.0, 0.3]),
}


def images(channels=3):
    noise = torch.rand(4, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    noise[:, :, 0] = torch.tensor([0.0, 1.0, 0.5, 0.5]).reshape(4, 1, 1)  # greys, black and white
    return noise


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_colours_agree_with_torchvision_to_a_hundredth_of_a_shade(name, channels):
    ours, theirs, factors = CASES[name]
    batch = images(channels)
    expected = torch.stack([theirs(image, factor) for image, factor in zip(batch, factors, strict=True)])
    assert (ours(batch, np.array(factors)) - expected).abs().max() < 0.01 / 255


@pytest.mark.parametrize(("name", "enhance"), [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast),
                                               ("saturation", ImageEnhance.Color)])  # fmt: skip
def test_colours_agree_with_pillow_to_one_and_a_half_shades(name, enhance):
    batch = (images() * 255).round()
    shown = Image.fromarray(batch[3].permute(1, 2, 0).to(torch.uint8).numpy())
    expected = np.asarray(enhance(shown).enhance(1.4)).astype(float)
    ours = CASES[name][0](batch[3:] / 255, np.array([1.4]))[0].permute(1, 2, 0).numpy() * 255
    assert abs(ours - expected).max() < 1.5


@pytest.mark.parametrize("name", CASES)
def test_a_factor_that_means_nothing_changes_nothing(name):
    ours, _, _ = CASES[name]
    neutral = 0.0 if name == "hue" else 1.0
    assert torch.allclose(ours(images(), np.full(4, neutral)), images(), atol=1e-6)
    assert (ours(images(), np.full(4, 0.3)) - images()).abs().max() > 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_lost_colours_are_torchvisions_grey_for_the_chosen_images_to_a_hundredth_of_a_shade(channels):
    ours = colour.greyed(images(channels), np.array([True, False, True, False]))
    for n, chosen in enumerate([True, False, True, False]):
        expected = tv.rgb_to_grayscale(images(channels)[n], num_output_channels=channels) if chosen else images(channels)[n]
        assert (ours[n] - expected).abs().max() < 0.01 / 255


def test_lost_colours_are_pillows_grey_to_one_and_a_half_shades():
    batch = (images() * 255).round()
    expected = np.asarray(Image.fromarray(batch[0].permute(1, 2, 0).to(torch.uint8).numpy()).convert("L")).astype(float)
    ours = colour.greyed(batch / 255, np.full(4, True))[0] * 255
    assert all(abs(channel.numpy() - expected).max() < 1.5 for channel in ours)
