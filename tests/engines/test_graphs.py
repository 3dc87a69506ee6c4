"""What is added to an exported graph: it computes what NumPy does, so that the file alone is enough."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sortal import bundle as bundles
from sortal.engines.graphs import deployed
from sortal.engines.onnx import OnnxGraph
from sortal.errors import BundleError
from sortal.evaluation.calibrators import Activation, Calibrator, Method, fitted, of_bundle
from sortal.evaluation.novelty import Memory, remembered
from sortal.preprocess import Preprocess

onnx = pytest.importorskip("onnx")
CLASSES, FEATURES = 4, 6


@cache
def parts() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrices from pixels to features and from features to logits."""
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(12, FEATURES)).astype(np.float32),
        generator.normal(size=(FEATURES, CLASSES)).astype(np.float32) * 5,
    )


@cache
def network() -> bytes:
    """A graph as an engine exports it: images of 2 x 2 pixels to logits and features."""
    helper, kind = onnx.helper, onnx.TensorProto
    initializers = [onnx.numpy_helper.from_array(part, name) for part, name in zip(parts(), ("body", "head"), strict=True)]
    initializers.append(onnx.numpy_helper.from_array(np.array(255, np.float32), "white"))
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], to=kind.FLOAT),
        helper.make_node("Flatten", ["cast"], ["flat"]),
        helper.make_node("Div", ["flat", "white"], ["unit"]),
        helper.make_node("MatMul", ["unit", "body"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["logits"]),
    ]
    images = helper.make_tensor_value_info("images", kind.UINT8, ["N", 2, 2, 3])
    outputs = [
        helper.make_tensor_value_info(name, kind.FLOAT, ["N", size])
        for name, size in (("logits", CLASSES), ("features", FEATURES))
    ]
    graph = helper.make_graph(nodes, "network", [images], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)


def features(count: int) -> NDArray[np.float32]:
    return np.asarray(images(count).reshape(count, -1).astype(np.float32) / 255 @ parts()[0])


def labels(activation: Activation, logits_NK: NDArray[np.float32]) -> NDArray[Any]:
    noise_NK = np.random.default_rng(2).normal(size=logits_NK.shape) * 4
    return (logits_NK + noise_NK).argmax(axis=1) if activation == "softmax" else (logits_NK + noise_NK > 0).astype(np.int64)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("method", ["none", "temperature", "vector", "isotonic"])
def test_the_graph_calibrates_as_the_calibrator_does(method: Method, activation: Activation) -> None:
    logits_NK = features(300) @ parts()[1]
    calibrator = fitted(method, logits_NK, labels(activation, logits_NK), activation)
    found = OnnxGraph(deployed(network(), calibrator, None, {})).outputs(images(300))
    assert list(found) == ["probabilities", "logits"]
    np.testing.assert_allclose(found["logits"], logits_NK, atol=1e-4)
    np.testing.assert_allclose(found["probabilities"], calibrator(logits_NK), atol=1e-5)
    plain = fitted("none", logits_NK, labels(activation, logits_NK), activation)
    assert (method == "none") == np.allclose(calibrator(logits_NK), plain(logits_NK), atol=1e-3), "the method does something"


def test_the_graph_measures_novelty_as_the_memory_does() -> None:
    memory = remembered(features(60))
    assert isinstance(memory, Memory)
    softmax = Calibrator("none", "softmax")
    found = OnnxGraph(deployed(network(), softmax, memory, {"about": "it"})).outputs(images(70))
    assert found["novelty"].shape == (70,)
    np.testing.assert_allclose(found["novelty"], memory.distances(features(70)), atol=1e-5)


def test_the_file_says_what_it_is() -> None:
    graph = OnnxGraph(deployed(network(), Calibrator("none", "softmax"), None, {"about": "ants and bees"}))
    assert graph.session.get_modelmeta().custom_metadata_map == {"about": "ants and bees"}


def test_logits_of_any_size_give_probabilities() -> None:
    logits_NK = features(100) @ parts()[1]
    calibrator = fitted("isotonic", logits_NK, labels("softmax", logits_NK), "softmax")
    huge = Calibrator("isotonic", "softmax", knots_M=calibrator.knots_M, values_M=calibrator.values_M)
    probs_NK = huge(logits_NK * 1e4)
    assert np.isfinite(probs_NK).all()
    np.testing.assert_allclose(probs_NK.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("method", ["none", "temperature", "vector", "isotonic"])
def test_a_calibrator_is_found_again_in_the_bundles_description(method: Method, activation: Activation, tmp_path: Path) -> None:
    logits_NK = features(300) @ parts()[1]
    calibrator = fitted(method, logits_NK, labels(activation, logits_NK), activation)
    about = {
        "task": "multi-label" if activation == "sigmoid" else "multi-class",
        "classes": list("abcd"),
        "preprocess": Preprocess(size=8, resize=8).to_dict(),
        "temperature": calibrator.temperature,
        "calibration": calibrator.to_json(),
        **({"thresholds": [0.5] * 4} if activation == "sigmoid" else {}),
    }
    found = of_bundle(bundles.write(tmp_path / "bundle", graph=b"g", weights=b"w", about=about))
    np.testing.assert_array_equal(found(logits_NK), calibrator(logits_NK))


@pytest.mark.parametrize(
    "change",
    [
        {"scale": [1.0] * 3},
        {"scale": -1.0},
        {"bias": "x"},
        {"scale": None},
        {"bias": [[0.0]]},
        {"knots": [1.0, 0.0], "values": [0.0, 1.0]},
        {"knots": [1.0, 2.0]},
        {"knots": [1.0], "values": [1.0]},
        {"values": [float("inf"), 1.0], "knots": [0.0, 1.0]},
    ],
    ids=str,
)
def test_a_calibrator_that_cannot_be_one_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    about = {
        "classes": list("abcd"),
        "preprocess": Preprocess(size=8, resize=8).to_dict(),
        "temperature": 1.0,
        "calibration": Calibrator("none", "softmax").to_json() | change,
    }
    bundle = bundles.write(tmp_path / "bundle", graph=b"g", weights=b"w", about=about)
    with pytest.raises(BundleError, match="calibration"):
        of_bundle(bundle)
