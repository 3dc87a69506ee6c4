"""Test-time views are inside what is deployed: the framework's probabilities and the graph's are those of all views."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from sortal.engines.torch.engine import ENGINE, TorchAssembled
from sortal.preprocess import Preprocess
from sortal.recipe import Augment, Recipe

GEOMETRY = Preprocess(16, 16, 3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2))
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


def assembled(views: str) -> TorchAssembled:
    recipe = Recipe(
        model="brisk_s", weights="none", strategy="scratch", image_size=16, threads=1, test_views=views,  # type: ignore[arg-type]
        augment=Augment(flip=0.5),
    )  # fmt: skip
    network = ENGINE._network(recipe, GEOMETRY, 3)
    with torch.no_grad():
        for _ in range(20):  # norms learn what they are fed, so that images and their views differ
            network(torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255)
    weights = network.state_dict()
    return ENGINE.assemble(recipe, GEOMETRY, 3, {name: tensor.numpy() for name, tensor in weights.items()})


def logits(images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of the image as it is, up to what softmax takes away."""
    return assembled("one").logits(images_NSSC)


def expected(images_NSSC: NDArray[np.uint8], views: str) -> NDArray[np.float32]:
    """By hand: the mean of logits, weighted."""
    mirrored = images_NSSC[:, :, ::-1]
    both = (logits(images_NSSC) + logits(mirrored)) / 2
    if views == "mirror":
        return both  # type: ignore[no-any-return]
    padded = np.pad(images_NSSC, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    moved = [padded[:, :16, :16], padded[:, 2:, 2:]]
    return both / 2 + sum((logits(view) + logits(view[:, :, ::-1])) / 8 for view in moved)  # type: ignore[no-any-return]


@pytest.mark.parametrize("views", ["mirror", "mirror_and_shift"])
def test_logits_are_the_mean_of_the_views_logits(views: str) -> None:
    found = assembled(views).logits(IMAGES)
    np.testing.assert_allclose(found, expected(IMAGES, views), atol=1e-4)
    assert np.abs(found - logits(IMAGES)).max() > 1e-3


@pytest.mark.parametrize("views", ["one", "mirror", "mirror_and_shift"])
@pytest.mark.parametrize("count", [1, 5])
def test_the_graph_answers_as_the_framework_does_and_gives_the_features_of_the_image_as_it_is(views: str, count: int) -> None:
    model = assembled(views)
    session = InferenceSession(model.graph, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {session.get_inputs()[0].name: IMAGES[:count]})[0]
    np.testing.assert_allclose(found, model.logits(IMAGES[:count]), atol=1e-4)
    (features,) = session.run(["features"], {session.get_inputs()[0].name: IMAGES[:count]})
    plain = InferenceSession(assembled("one").graph, providers=["CPUExecutionProvider"])
    (own,) = plain.run(["features"], {plain.get_inputs()[0].name: IMAGES[:count]})
    np.testing.assert_allclose(features, own, atol=1e-5)


def test_a_mirror_image_gets_the_same_answer() -> None:
    model = assembled("mirror")
    mirrored = np.ascontiguousarray(IMAGES[:, :, ::-1])
    np.testing.assert_allclose(model.logits(IMAGES), model.logits(mirrored), atol=1e-4)


def test_in_training_there_is_one_view() -> None:
    network = assembled("mirror").network
    x = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(x), network.head(network.features(x)))  # type: ignore[arg-type]
