"""Graphs for exports: the resize inside is Pillow's, and a simplified graph computes the same."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from sortal.engines.onnx import OnnxGraph
from sortal.exports.graphs import of_any_size, simplified
from sortal.preprocess import Preprocess, network_pixels, stored_pixels


def passing_on(size: int, channels: int) -> onnx.ModelProto:
    """A graph whose 'probabilities' are the pixels that reach it."""
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["cast"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, channels])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", size * size * channels])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(28, 28), (40, 40), (100, 60), (61, 300), (29, 28), (1, 1), (500, 300), (27, 90)])
def test_the_resize_in_the_graph_is_pillows(channels: int, interpolation: Any, shape: tuple[int, int]) -> None:
    preprocess = Preprocess(
        size=24, resize=28, channels=channels, interpolation=interpolation, mean=(0.5,) * channels, std=(0.5,) * channels
    )
    model = of_any_size(passing_on(24, channels), preprocess)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = session.run(["probabilities"], {"image": image})[0].reshape(24, 24, channels)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    expected = network_pixels(stored_pixels(buffer.getvalue(), preprocess)[None], preprocess)[0]
    apart = np.abs(found - expected.astype(np.float32))
    # Pillow looks at pixels beside the square where it enlarges; elsewhere a last bit may differ.
    enlarged = min(shape) < 28
    inner = apart[4:-4, 4:-4] if enlarged else apart
    assert inner.max() <= 1
    assert (inner > 0).mean() < 0.25


def test_a_simplified_graph_has_fewer_steps_the_same_answers_and_an_open_batch(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Shape", ["planes"], ["shape"]),  # what an exporter leaves of padding that depends on the size
        helper.make_node("Gather", ["shape", "two"], ["height"]),
        helper.make_node("Sub", ["height", "seven"], ["pad"]),
        helper.make_node("Unsqueeze", ["pad", "zero"], ["pad_1"]),
        helper.make_node("Concat", ["zeros", "pad_1", "pad_1", "zeros", "pad_1", "pad_1"], ["pads"], axis=0),
        helper.make_node("Pad", ["planes", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "weights"], ["maps"]),
        helper.make_node("ReduceMean", ["maps"], ["logits"], axes=[2, 3], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array(2), "two"), numpy_helper.from_array(np.array(7), "seven"),
        numpy_helper.from_array(np.array([0]), "zero"), numpy_helper.from_array(np.array([0, 0]), "zeros"),
        numpy_helper.from_array(weights, "weights"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "padded", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    smaller = simplified(tmp_path / "model.onnx")
    assert {node.op_type for node in smaller.graph.node}.isdisjoint({"Shape", "Gather", "Concat", "Pad"})
    for count in (1, 2, 9):
        images = np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        expected = OnnxGraph(tmp_path / "model.onnx")(images)
        assert np.abs(OnnxGraph(smaller.SerializeToString())(images) - expected).max() < 1e-6


def test_a_graph_that_keeps_a_batch_of_one_inside_stays_as_it_is(tmp_path: Path) -> None:
    """Its last step multiplies by the number of images: folded for one, it would be wrong for three."""
    nodes = [
        helper.make_node("Cast", ["images"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["cast"], ["flat"], axis=1),
        helper.make_node("Shape", ["images"], ["count"], end=1),
        helper.make_node("Cast", ["count"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["flat", "number"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes, "counting", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 2, 2, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 4])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx")
    assert len(simplified(tmp_path / "model.onnx").graph.node) == len(nodes)
