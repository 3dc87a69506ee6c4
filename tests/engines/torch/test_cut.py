"""Cutting networks in two."""

import pytest
import torch

from sortal.engines.torch.cut import find_cut
from sortal.engines.torch.models import table
from sortal.engines.torch.models.body import Body
from sortal.errors import NotSupported

FEW = [
    ("compact", 32),
    ("lenet5", 28),
    ("cifar10_cnn", 32),
    ("resnet_cifar", 32),
    ("resnet10t", 32),
    ("tf_efficientnet_lite0", 64),
    ("mobilenetv3_small_050", 64),
    ("convnext_atto", 64),
    ("regnetx_002", 64),
    ("vit_tiny_patch16_224", 32),
]
MANY = [
    ("resnet50", 64),
    ("efficientnet_b0", 64),
    ("mobilenetv2_050", 64),
    ("densenet121", 64),
    ("vgg11_bn", 64),
    ("inception_v3", 128),
    ("deit_tiny_patch16_224", 64),
    ("swin_tiny_patch4_window7_224", 224),
    ("repvgg_a0", 64),
]


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize(("name", "size"), [*FEW, *(pytest.param(*each, marks=pytest.mark.slow) for each in MANY)])
def test_the_two_parts_of_a_cut_network_give_what_the_whole_gives(name: str, size: int, stages: int) -> None:
    torch.manual_seed(0)
    channels = 1 if name == "lenet5" else 3
    body = table.create(name, channels=channels, image_size=size)
    learning = [each for names in body.stages()[-stages:] for each in names]
    body.train()
    cut = find_cut(body, learning, torch.rand(1, channels, size, size))
    assert body.training  # as it was found
    body.eval()
    images = torch.rand(3, channels, size, size)
    with torch.no_grad():
        maps = cut.before(body, images)
        for parameter in (parameter for key, parameter in body.named_parameters() if key in learning):
            parameter.add_(0.01)  # whatever is learnt behind the cut
        torch.testing.assert_close(cut.before(body, images), maps, rtol=0, atol=0)
        torch.testing.assert_close(cut.after(body, maps.clone()), body(images), rtol=1e-4, atol=1e-5)


def test_the_cut_is_as_late_as_it_can_be() -> None:
    body = table.create("compact", channels=3, image_size=32)
    last, two = (
        find_cut(body, [each for names in body.stages()[-count:] for each in names], torch.rand(1, 3, 32, 32))
        for count in (1, 2)
    )
    assert (last.name, two.name) == ("blocks.stage3", "blocks.stage2")


class Skips(Body):
    """A body whose last block looks back at the images."""

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        first = self.blocks["first"](x)
        return torch.cat([self.blocks["last"](first), x], dim=1).mean(dim=(2, 3))


def test_a_network_that_looks_back_past_the_cut_is_not_cut() -> None:
    body = Skips({"first": torch.nn.Conv2d(3, 4, 3, padding=1), "last": torch.nn.Conv2d(4, 4, 3, padding=1)}, dimensions=7)
    with pytest.raises(NotSupported, match="outside of the layers"):
        find_cut(body, body.stages()[-1], torch.rand(1, 3, 8, 8))


class Remembers(torch.nn.Module):
    """A module that gives more on every call."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x.mean(dim=(2, 3)) * self.weight * self.calls


def test_parts_that_do_not_give_what_the_whole_gave_are_found_out() -> None:
    body = Body({"first": torch.nn.Conv2d(3, 4, 3), "last": Remembers()}, dimensions=4)
    with pytest.raises(NotSupported, match="other features"):
        find_cut(body, body.stages()[-1], torch.rand(1, 3, 8, 8))
