import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from sortal.augment.parameters import Position
from sortal.augment.policies import (
    AUTO_LEVELS,
    LEVELS,
    OPERATIONS,
    auto_steps,
    magnitude,
    rand_steps,
    trivial_steps,
)
from sortal.engines.torch.augment import policies

AT = Position(0, 0, np.arange(60, dtype=np.uint64))
SIDE = 24
TABLES = {
    "rand": (v2.RandAugment._AUGMENTATION_SPACE, LEVELS),
    "auto": (v2.AutoAugment._AUGMENTATION_SPACE, AUTO_LEVELS),
    "trivial": (v2.TrivialAugmentWide._AUGMENTATION_SPACE, LEVELS),
}
STEPS = {
    "rand": rand_steps(AT, count=2, level=9, side=SIDE),
    "auto cifar10": auto_steps(AT, policy="cifar10", side=SIDE),
    "auto imagenet": auto_steps(AT, policy="imagenet", side=SIDE),
    "trivial": trivial_steps(AT, side=SIDE),
}


def images(n=60, channels=3):
    small = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.1
    return torch.nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bilinear")


def theirs(pixels, operation, strength):
    """torchvision's own dispatch."""
    return v2.RandAugment()._apply_image_or_video_transform(
        pixels, operation, strength, interpolation=v2.InterpolationMode.NEAREST, fill={torch.Tensor: None}
    )


@pytest.mark.parametrize("table", TABLES)
def test_every_operation_at_a_strength_of_torchvisions_tables_is_exactly_torchvisions(table):
    pixels = (images(2) * 255).to(torch.uint8)
    space, levels = TABLES[table]
    for operation, (values, signed) in space.items():
        strengths = values(levels, SIDE, SIDE)
        for level in range(levels if strengths is not None else 1):
            strength = float(strengths[level]) if strengths is not None else 0.0
            for sign in (1, -1) if signed else (1,):
                ours = policies.transform(pixels, operation, sign * strength)
                assert torch.equal(ours, theirs(pixels, operation, sign * strength)), (operation, sign, level)


@pytest.mark.parametrize("operation", OPERATIONS[1:])
def test_every_operation_but_identity_changes_images(operation):
    pixels = (images(2) * 255).to(torch.uint8)
    assert not torch.equal(policies.transform(pixels, operation, magnitude(operation, 20, SIDE)), pixels)
    assert torch.equal(policies.transform(pixels, "Identity", 0.0), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", STEPS)
def test_every_image_goes_through_the_operations_it_drew_in_their_order(name, channels):
    batch = images(channels=channels)
    varied = policies.apply(batch, STEPS[name])
    for n in range(len(AT)):
        one = (batch[n : n + 1] * 255).round().to(torch.uint8)
        for operation_N, strength_N in STEPS[name]:
            one = policies.transform(one, OPERATIONS[operation_N[n]], strength_N[n])
        assert torch.equal((varied[n] * 255).round(), one[0].to(torch.float32))
    assert len({int(operation) for operation_N, _ in STEPS[name] for operation in operation_N}) >= 9


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [1, 2, 3, 33])
def test_operations_are_torchvisions_on_noise_flat_channels_and_the_smallest_images(side, channels):
    noise = torch.randint(0, 256, (4, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    noise[1, 0] = 77
    noise[2], noise[3] = 0, 255
    for operation in OPERATIONS:
        strength = magnitude(operation, 17, side)
        ours = policies.transform(noise.clone(), operation, strength)
        assert torch.equal(ours, theirs(noise, operation, strength)), operation
