"""How a network from random weights begins: filters that whiten patches, and convolutions that hand on what they get."""

import numpy as np
import pytest
import torch
from torch import nn

from sortal.engines.torch.engine import ENGINE
from sortal.engines.torch.models import table
from sortal.engines.torch.start import first_layer, prepared, whiten
from sortal.errors import NotSupported
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe, Start
from tests.engines.torch.test_session import BRISK, GEOMETRY, Samples, after, opened, three_classes


def images(channels: int, count: int = 40) -> torch.Tensor:
    """Smooth ones, as photographs are, so that neighbours are alike and patches vary in few directions."""
    rough = torch.rand((count, channels, 8, 8), generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(rough, (16, 16), mode="bilinear") - 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_what_whitening_filters_give_varies_alike_and_together_not_at_all(channels: int) -> None:
    body = table.create("brisk_s", channels=channels, image_size=16)
    conv = first_layer(body)
    x = images(channels)
    before = conv(x).detach()
    whiten(conv, x.split(16))
    half = conv.out_channels // 2
    with torch.no_grad():
        maps = nn.functional.conv2d(x, conv.weight)
    found = maps[:, :half].permute(1, 0, 2, 3).flatten(1).double()
    moments = found @ found.T / found.shape[1]
    strong = moments.diagonal() > 0.9  # those of directions in which next to nothing varies stay small
    assert strong.sum() >= 3
    assert torch.allclose(moments[strong][:, strong], torch.eye(int(strong.sum()), dtype=torch.float64), atol=0.1)
    assert (moments - torch.diag(moments.diagonal())).abs().max() < 0.01
    assert torch.equal(maps[:, half:], -maps[:, :half])
    assert not torch.allclose(before, conv(x))


def test_whitening_depends_on_the_images_and_not_on_how_they_are_divided() -> None:
    conv = first_layer(table.create("brisk_s", channels=3, image_size=16))
    found = []
    for parts in (images(3).split(40), images(3).split(7), (images(3) * torch.tensor([1.0, 0.1, 2.0]).reshape(1, 3, 1, 1),)):
        whiten(conv, parts)
        found.append(conv.weight.detach().clone())
    assert torch.allclose(found[0], found[1], atol=1e-4)
    assert not torch.allclose(found[0], found[2], atol=1e-2)


def test_a_stage_of_identity_convolutions_hands_on_its_maps() -> None:
    body = prepared(table.create("brisk_s", channels=3, image_size=16), Start(identity=True))
    conv = body.blocks["stage2"].conv2
    x = torch.rand(2, conv.in_channels, 5, 5)
    assert torch.allclose(conv(x), x)
    grows = body.blocks["stage2"].conv1  # more maps come out than go in: the rest is random
    handed_on = grows(torch.ones(1, grows.in_channels, 5, 5))[0, :, 2, 2]
    assert torch.allclose(handed_on[: grows.in_channels], torch.ones(grows.in_channels))
    assert (handed_on[grows.in_channels :] != 1).all()


def test_without_the_word_convolutions_start_at_random() -> None:
    torch.manual_seed(0)
    plain = table.create("brisk_s", channels=3, image_size=16)
    torch.manual_seed(0)
    same = prepared(table.create("brisk_s", channels=3, image_size=16), Start())
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), same.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["compact", "simple_cnn", "lenet5"])
def test_a_first_layer_without_room_for_whitening_is_refused_with_a_cure(name: str) -> None:
    with pytest.raises(NotSupported, match="no room") as caught:
        prepared(table.create(name, channels=3, image_size=32), Start(whiten="bias"))
    assert "brisk" in str(caught.value.hint)


@pytest.mark.parametrize(("how", "learns"), [("bias", True), ("frozen", False)])
def test_whitening_filters_stay_and_their_biases_learn_as_long_as_the_recipe_says(
    how: str,
    learns: bool,
) -> None:
    until = {"whiten_until": 0.25} if how == "bias" else {}
    session = opened(three_classes(), **BRISK | {"start": Start(whiten=how, identity=True, **until)})  # type: ignore[arg-type]
    one = after(session, 1)
    weight, bias = "model/body.blocks.stem.0.weight", "model/body.blocks.stem.0.bias"
    again = opened(three_classes(), **BRISK | {"start": session.recipe.start})
    assert (one[weight] == after(again, 4)[weight]).all()
    assert one[weight].std() > 0.5, "random filters are ten times smaller"
    assert (one[bias] == 0).all() == (not learns)
    session.thawing.at(0, 0.3)
    assert not any(p.requires_grad for name, p in session.model.named_parameters() if ".stem." in name)


def test_the_filters_are_shipped_and_assembled_again() -> None:
    samples = three_classes()
    session = opened(samples, **BRISK)
    after(session, 2)
    weights = session.weights()
    recipe = session.recipe
    assembled = ENGINE.assemble(recipe, GEOMETRY, 3, weights)
    assert (assembled.tensors()["body.blocks.stem.0.weight"] == weights["body.blocks.stem.0.weight"]).all()
    logits = session.predict("val")
    found = assembled.logits(samples.pixels.read(samples.splits["val"]))
    np.testing.assert_allclose(found, logits, atol=1e-4)


def test_a_network_of_another_size_for_each_place_in_the_range() -> None:
    for size in (16, 28, 32, 47, 48, 64):
        for channels in (1, 3):
            body = table.create("brisk_s", channels=channels, image_size=size)
            with torch.no_grad():
                assert body.eval()(torch.zeros(2, channels, size, size)).shape == (2, 128)


def test_growing_is_refused_where_the_network_has_one_size() -> None:
    recipe = Recipe(
        model="cifar10_cnn", weights="none", strategy="scratch", image_size=32, threads=1, precision="float32", layout="nchw",
        grow={"start": 0.75},  # type: ignore[arg-type]
    )  # fmt: skip
    nothing = Samples(("a", "b"), np.zeros(2, np.int64), np.zeros(2, np.uint64), {"train": np.arange(2)}, None)  # type: ignore[arg-type]
    with pytest.raises(NotSupported, match="does not take smaller ones of 24"):
        ENGINE.open(recipe, Preprocess(32, 32, 3), nothing)
