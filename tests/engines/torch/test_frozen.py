"""The frozen part of a network."""

import numpy as np
import pytest

from sortal.engines import openvino
from sortal.engines.torch.engine import ENGINE
from sortal.preprocess import Preprocess
from sortal.recipe import Augment, Recipe

GEOMETRY = Preprocess(32, 40)
RECIPE = Recipe(
    model="resnet10t", weights="none", image_size=32, resize=40, threads=1, augment=Augment(views=2, crop="resized")
)
PIXELS = np.random.default_rng(0).integers(0, 256, (11, 40, 40, 3), dtype=np.uint8)
KEYS = np.arange(11, dtype=np.uint64) * 977


NEEDS_OPENVINO = pytest.mark.skipif(not openvino.installed(), reason="OpenVINO is not installed")
RUNTIMES = [
    "onnx",
    "torch",
    "torch_bf16",
    pytest.param("openvino", marks=NEEDS_OPENVINO),
    pytest.param("openvino_bf16", marks=NEEDS_OPENVINO),
]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_features_of_an_image_do_not_depend_on_its_neighbours_to_the_last_bit(runtime: str) -> None:
    frozen = ENGINE.frozen(RECIPE.model_copy(update={"runtime": runtime}), GEOMETRY)
    together = frozen.outputs(PIXELS)
    order = np.array([7, 2, 10, 0])
    assert frozen.outputs(PIXELS[order]).tobytes() == together[order].tobytes()
    assert frozen.outputs(PIXELS[3:4]).tobytes() == together[3:4].tobytes()
    views = frozen.views(PIXELS, KEYS)
    assert views.shape == (11, 2, *frozen.shape)
    assert frozen.views(PIXELS[order], KEYS[order]).tobytes() == views[order].tobytes()


@pytest.mark.parametrize("runtime", ["onnx", pytest.param("openvino", marks=NEEDS_OPENVINO)])
def test_every_runtime_in_float32_gives_the_features_of_torch(runtime: str) -> None:
    other, in_torch = (ENGINE.frozen(RECIPE.model_copy(update={"runtime": name}), GEOMETRY) for name in (runtime, "torch"))
    np.testing.assert_allclose(other.outputs(PIXELS), in_torch.outputs(PIXELS), rtol=1e-3, atol=1e-4)
    assert other.key != in_torch.key


@pytest.mark.parametrize("runtime", ["torch_bf16", pytest.param("openvino_bf16", marks=NEEDS_OPENVINO)])
def test_a_runtime_in_bf16_gives_other_bits_and_has_a_key_of_its_own(runtime: str) -> None:
    reduced, whole = (ENGINE.frozen(RECIPE.model_copy(update={"runtime": name}), GEOMETRY) for name in (runtime, "torch"))
    assert reduced.key != whole.key
    if runtime == "openvino_bf16" and not openvino.computes_bf16():
        pytest.skip("this processor computes in float32 whatever is asked for")
    found, exact = reduced.outputs(PIXELS), whole.outputs(PIXELS)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 0.1 * np.abs(exact).max()


def test_the_key_tells_weights_and_normalisation_apart() -> None:
    recipe = RECIPE.model_copy(update={"runtime": "onnx"})
    key = ENGINE.frozen(recipe, GEOMETRY).key
    assert ENGINE.frozen(recipe, GEOMETRY).key == key
    assert ENGINE.frozen(recipe.model_copy(update={"seed": 5}), GEOMETRY).key != key  # random weights of another seed
    assert ENGINE.frozen(recipe, Preprocess(32, 40, mean=(0.4, 0.5, 0.6))).key != key


def test_a_small_stem_has_a_key_of_its_own_though_its_weights_may_be_the_same() -> None:
    recipe = RECIPE.model_copy(update={"model": "tf_efficientnet_lite0", "runtime": "onnx", "weights": "default"})
    keys = {ENGINE.frozen(recipe.model_copy(update={"stem": stem}), GEOMETRY).key for stem in ("default", "small")}
    assert len(keys) == 2


def test_two_views_of_an_image_differ() -> None:
    frozen = ENGINE.frozen(RECIPE.model_copy(update={"runtime": "onnx"}), GEOMETRY)
    views = frozen.views(PIXELS, KEYS)
    assert (views[:, 0] != views[:, 1]).any(axis=1).all()
