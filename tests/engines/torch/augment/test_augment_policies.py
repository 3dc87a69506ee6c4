import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from sortal.augment.parameters import Position
from sortal.augment.randaugment import OPERATIONS, SIGNED, choices, magnitude
from sortal.engines.torch.augment import randaugment

AT = Position(0, 0, np.arange(40, dtype=np.uint64))


def images(n=40, channels=3):
    small = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.1
    return torch.nn.functional.interpolate(small, size=(24, 24), mode="bilinear")


class Fixed(v2.RandAugment):
    """torchvision's class made to draw what it is told."""

    def __init__(self, operation, sign, level):
        super().__init__(num_ops=1, magnitude=level)
        values, _ = self._AUGMENTATION_SPACE[operation]

        def signed(*arguments):
            found = values(*arguments)
            return None if found is None else found * sign

        self._AUGMENTATION_SPACE = {operation: (signed, False)}


@pytest.mark.parametrize(("operation", "sign"), [(o, 1) for o in OPERATIONS] + [(o, -1) for o in sorted(SIGNED)])
def test_each_operation_is_exactly_torchvisions(operation, sign):
    pixels = (images(2) * 255).to(torch.uint8)
    ours = randaugment.transform(pixels, operation, sign * magnitude(operation, 13, 24))
    assert torch.equal(ours, Fixed(operation, sign, 13)(pixels))
    if operation != "Identity":
        assert not torch.equal(ours, pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_goes_through_the_operations_it_drew_in_their_order(channels):
    batch = images(channels=channels)
    varied = randaugment.apply(batch, AT, count=2, level=9)
    operations_NO, reversed_NO = choices(AT, 2)
    for n in range(len(AT)):
        one = (batch[n : n + 1] * 255).round().to(torch.uint8)
        for operation, backwards in zip(operations_NO[n], reversed_NO[n], strict=True):
            name = OPERATIONS[operation]
            one = randaugment.transform(one, name, (-1 if backwards else 1) * magnitude(name, 9, 24))
        assert torch.equal((varied[n] * 255).round(), one[0].to(torch.float32))
    assert len(set(operations_NO.ravel())) >= 12
