"""Maps from inside a network: they change with its weights, and deleting what they name costs more than deleting at random."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from sortal.engines.torch.attribution import (
    GRAD_CAM,
    INTEGRATED,
    ROLLOUT,
    TorchAttributor,
    TorchEmbedder,
    methods,
)
from sortal.engines.torch.models import table
from sortal.engines.torch.network import Network, make_head
from sortal.errors import NotSupported
from sortal.explanation.deletion import alike, deletion
from sortal.preprocess import Preprocess
from sortal.recipe import Head

SIDE = 32


def network(name: str, size: int = SIDE, *, seed: int = 0, **options: object) -> Network:
    torch.manual_seed(seed)
    if name == "vit":  # a transformer of 64 patches, small enough to be trained here
        import timm

        from sortal.engines.torch.models.timm_body import TimmBody

        net = timm.models.VisionTransformer(
            img_size=size, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=0, **options
        )
        body = TimmBody(net, "test_vit", size)
        body.dimensions = 32
    else:
        body = table.create(name, channels=3, image_size=size, stem="default")
    preprocess = Preprocess(size=size, resize=size)
    return Network(body, make_head(Head(), body.dimensions, 2), preprocess).eval()


def marked(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with a square somewhere, red for class 0 and green for 1: images, labels, and where the square is (row, column)."""
    random = np.random.default_rng(seed)
    images = random.integers(60, 120, (count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = random.integers(0, 2, count)
    places = random.integers(0, 3, (count, 2)) * 8 + 4
    for image, label, (row, column) in zip(images, labels, places, strict=True):
        image[row : row + 8, column : column + 8] = 20
        image[row : row + 8, column : column + 8, label] = 230
    return images, labels, places


def trained(net: Network, *, steps: int, rate: float = 3e-3) -> Network:
    images, labels, _ = marked(256, seed=1)
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    targets = torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    net.train()
    for step in range(steps):
        rows = torch.arange(32) + 32 * (step % 8)
        loss = nn.functional.cross_entropy(net(inputs[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def predictor(net: Network) -> Callable[[np.ndarray], np.ndarray]:
    def predict(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = net(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255)
            return logits.softmax(dim=1).numpy()

    return predict


@pytest.fixture(scope="module")
def convolutional() -> Network:
    return trained(network("test_resnet", 32), steps=40)


@pytest.fixture(scope="module")
def transformer() -> Network:
    return trained(network("vit"), steps=120)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("convolutional", GRAD_CAM),
        ("transformer", ROLLOUT),
        pytest.param("convolutional", INTEGRATED, marks=pytest.mark.slow),
        ("transformer", INTEGRATED),
    ],
)
def test_a_map_passes_the_sanity_checks(name: str, method: str, request: pytest.FixtureRequest) -> None:
    """It finds what the network decides by, deletion costs more than at random, and random weights change it."""
    if method == INTEGRATED:
        pytest.importorskip("captum", reason="integrated gradients are captum's")
    net: Network = request.getfixturevalue(name)
    images, labels, places = marked(12)
    predict = predictor(net)
    assert (predict(images).argmax(axis=1) == labels).all(), "the network has not learnt its task"
    maps = TorchAttributor(net, SIDE, method)(images, labels)
    assert maps.shape[0] == 12
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert maps.min() >= 0

    hits = [_at(each, row + 4, column + 4) >= np.quantile(each, 0.75) for each, (row, column) in zip(maps, places, strict=True)]
    assert np.mean(hits) > 0.7

    random = np.random.default_rng(0)
    by_map = [deletion(predict, image, label, each) for image, label, each in zip(images, labels, maps, strict=True)]
    at_random = [
        np.mean([deletion(predict, image, label, random.random(maps.shape[1:])) for _ in range(3)])
        for image, label in zip(images, labels, strict=True)
    ]
    assert np.mean(by_map) < np.mean(at_random) - 0.02

    other = network("vit" if name == "transformer" else "test_resnet", seed=9)
    of_random_weights = TorchAttributor(other, SIDE, method)(images, labels)
    agreement = np.mean([alike(a, b) for a, b in zip(maps, of_random_weights, strict=True)])
    assert agreement < 0.7


def _at(map_hw: np.ndarray, row: int, column: int) -> float:
    """The map's value at a pixel of the image."""
    height, width = map_hw.shape
    return float(map_hw[row * height // SIDE, column * width // SIDE])


def test_maps_of_two_labels_differ(convolutional: Network, transformer: Network) -> None:
    images, labels, _ = marked(6)
    for net, method in ((convolutional, GRAD_CAM), (transformer, ROLLOUT)):
        attribute = TorchAttributor(net, SIDE, method)
        assert not np.allclose(attribute(images, labels), attribute(images, 1 - labels))


def test_an_images_map_does_not_depend_on_its_company(convolutional: Network) -> None:
    images, labels, _ = marked(20)
    attribute = TorchAttributor(convolutional, SIDE, GRAD_CAM)
    np.testing.assert_allclose(attribute(images, labels)[17:18], attribute(images[17:18], labels[17:18]), atol=1e-5)
    assert len(attribute(images[:0], labels[:0])) == 0


def test_rollout_leaves_the_network_as_it_was(transformer: Network) -> None:
    images, labels, _ = marked(2)
    before = predictor(transformer)(images)
    fused = [module.fused_attn for module in transformer.modules() if hasattr(module, "fused_attn")]
    TorchAttributor(transformer, SIDE, ROLLOUT)(images, labels)
    assert [module.fused_attn for module in transformer.modules() if hasattr(module, "fused_attn")] == fused
    np.testing.assert_array_equal(predictor(transformer)(images), before)
    assert not any(module._forward_hooks for module in transformer.modules())


@pytest.mark.parametrize(
    ("name", "size", "expected", "places"),
    [
        ("lenet5", 28, GRAD_CAM, 4),
        ("simple_cnn", 32, GRAD_CAM, 4),
        ("compact_s", 28, GRAD_CAM, 7),
        ("test_efficientnet", 64, GRAD_CAM, 4),
        ("test_convnext", 64, GRAD_CAM, 4),  # maps with channels last
        ("test_maxvit", 64, GRAD_CAM, 4),  # attention within windows, maps between them
        ("vit", 32, ROLLOUT, 8),
        ("test_vit", 160, ROLLOUT, 10),
    ],
)
def test_the_best_method_goes_by_the_architecture(name: str, size: int, expected: str, places: int) -> None:
    net = network(name, size)
    assert methods(net, size) == (expected, INTEGRATED)
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    assert TorchAttributor(net, size, expected)(images, np.array([1])).shape == (1, places, places)


def test_a_transformer_that_averages_its_patches_has_a_map_too() -> None:
    net = network("vit", global_pool="avg", class_token=False)
    images, labels, _ = marked(2)
    found = TorchAttributor(net, SIDE, ROLLOUT)(images, labels)
    assert found.shape == (2, 8, 8)
    assert (np.ptp(found, axis=(1, 2)) > 0.01 * found.max(axis=(1, 2))).all()


@pytest.mark.slow
def test_patches_that_mix_without_attention_have_neither_maps_nor_rollout() -> None:
    net = network("gmixer_12_224", 224)
    assert methods(net, 224) == (INTEGRATED,)
    with pytest.raises(NotSupported, match="grad_cam does not work for this network") as raised:
        TorchAttributor(net, 224, GRAD_CAM)
    assert "integrated_gradients or occlusion" in raised.value.hint


def test_features_are_those_that_the_head_decides_on(convolutional: Network) -> None:
    images, _, _ = marked(20)
    features = TorchEmbedder(convolutional)(images)
    with torch.inference_mode():
        probs = convolutional.head(torch.from_numpy(features)).softmax(dim=1).numpy()
    np.testing.assert_allclose(probs, predictor(convolutional)(images), atol=1e-4)
