"""ONNX graphs as exports need them: simplified, described, with the first steps of preprocessing inside."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from sortal.engines.onnx import OnnxGraph
from sortal.preprocess import Preprocess

IMAGES, IMAGE, PROBABILITIES = "images", "image", "probabilities"
OPSET_OF_ANTIALIAS = 18
# ITU-R 601 in whole numbers, as Pillow computes it: the luminance of a red, a green and a blue pixel.
LUMINANCE, HALF, SHIFT = (19595, 38470, 7471), 0x8000, 1 << 16
SAME = 1e-5
"""Probabilities that may differ between a graph and its simplified form."""


def described(model: ModelProto, about: Mapping[str, Any]) -> bytes:
    """The graph with all that is to be said of it in its metadata, one JSON object under 'sortal', and as bytes."""
    helper.set_model_props(model, {"sortal": json.dumps(about, ensure_ascii=False)})
    data: bytes = model.SerializeToString()
    return data


def simplified(graph: Path) -> ModelProto:
    """The same computation with fewer steps: what does not depend on the images is computed now.

    The exporter that writes bundles' graphs leaves, for each padded convolution, some twenty steps that find out how large the
    image is. With a batch of one they are all constants; the batch is opened again afterwards. Where a network will not have
    that, its graph stays as it is.
    """
    original = onnx.load(graph)
    smaller = _constants_folded(original)
    if smaller is None:
        return original
    shape = [dimension.dim_value for dimension in original.graph.input[0].type.tensor_type.shape.dim][1:]
    images_NSSC = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    expected_NK = OnnxGraph(graph, threads=1)(images_NSSC)
    try:
        found_NK = OnnxGraph(smaller.SerializeToString(), threads=1)(images_NSSC)
    except Exception:  # a graph that has the batch of one inside; ONNX Runtime raises many classes of its own
        return original
    same = found_NK.shape == expected_NK.shape and float(np.abs(found_NK - expected_NK).max()) <= SAME
    return smaller if same else original


def _constants_folded(original: ModelProto) -> ModelProto | None:
    fixed = ModelProto()
    fixed.CopyFrom(original)
    batch = fixed.graph.input[0].type.tensor_type.shape.dim[0]
    name = batch.dim_param or "N"
    batch.dim_value = 1
    for output in fixed.graph.output:
        if output.type.tensor_type.shape.dim:
            output.type.tensor_type.shape.dim[0].dim_value = 1
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "smaller.onnx")
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(fixed.SerializeToString(), options, providers=["CPUExecutionProvider"])
            smaller = onnx.load(options.optimized_model_filepath)
        except Exception:  # see above; also one that is too large for a single message
            return None
    del smaller.graph.value_info[:]  # shapes with a batch of one
    for value in (*smaller.graph.input, *smaller.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = name
    return smaller


def of_any_size(model: ModelProto, preprocess: Preprocess) -> ModelProto:
    """The graph behind a resize: `image`, uint8 (H, W, 3) of any height and width, upright, RGB; `probabilities`, (1, K).

    The same steps as `Preprocess`: the largest centred square, resampled with antialiasing to R x R, grey where the network
    wants one channel, its centre S x S. Pillow resamples a square with the pixels around it, and decodes large JPEGs at a
    fraction of their size; so answers agree with the bundle's by a tolerance of their own.
    """
    upgraded = onnx.version_converter.convert_version(model, OPSET_OF_ANTIALIAS)
    front = _front(preprocess)
    front.ir_version = upgraded.ir_version
    joined = onnx.compose.merge_models(front, upgraded, io_map=[("ready", upgraded.graph.input[0].name)])
    assert isinstance(joined, ModelProto)
    return joined


def _front(preprocess: Preprocess) -> ModelProto:
    """From `image` to `ready`, uint8 (1, S, S, C)."""
    nodes: list[Any] = []
    constants = []

    def constant(name: str, values: Any, kind: Any = np.int64) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def step(operator: str, *inputs: str, to: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [to], **attributes))
        return to

    side, size, low = preprocess.resize, preprocess.size, (preprocess.resize - preprocess.size) // 2
    axes = constant("front_axes", [0, 1])
    lengths = step(
        "Slice", step("Shape", IMAGE, to="front_shape"), constant("front_0", [0]), constant("front_2", [2]), to="front_hw"
    )
    square = step("ReduceMin", lengths, to="front_square", keepdims=1)
    corner = step("Div", step("Sub", lengths, square, to="front_rest"), constant("front_two", [2]), to="front_corner")
    cut = step("Slice", IMAGE, corner, step("Add", corner, square, to="front_end"), axes, to="front_cut")
    planes = step("Transpose", cut, to="front_planes", perm=[2, 0, 1])
    batch = step("Unsqueeze", planes, constant("front_first", [0]), to="front_batch")
    cubic = {"mode": "cubic", "cubic_coeff_a": -0.5} if preprocess.interpolation == "bicubic" else {"mode": "linear"}
    target = constant("front_sizes", [1, 3, side, side])
    resized = step(
        "Resize", batch, "", "", target, to="front_resized",
        antialias=1, exclude_outside=1, coordinate_transformation_mode="half_pixel", **cubic,
    )  # fmt: skip
    if preprocess.channels == 1:
        weighed = step(
            "Mul",
            _cast(nodes, resized, "front_whole", TensorProto.INT32),
            constant("front_luminance", np.reshape(LUMINANCE, (1, 3, 1, 1)), np.int32),
            to="front_weighed",
        )
        added = step("ReduceSum", weighed, constant("front_channel", [1]), to="front_sum", keepdims=1)
        rounded = step("Add", added, constant("front_half", HALF, np.int32), to="front_rounded")
        resized = _cast(
            nodes,
            step("Div", rounded, constant("front_shift", SHIFT, np.int32), to="front_shifted"),
            "front_grey",
            TensorProto.UINT8,
        )
    centre = step(
        "Slice", resized, constant("front_low", [low, low]), constant("front_high", [low + size, low + size]),
        constant("front_places", [2, 3]), to="front_centre",
    )  # fmt: skip
    step("Transpose", centre, to="ready", perm=[0, 2, 3, 1])
    graph = helper.make_graph(
        nodes,
        "preprocessing",
        [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["H", "W", 3])],
        [helper.make_tensor_value_info("ready", TensorProto.UINT8, [1, size, size, preprocess.channels])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET_OF_ANTIALIAS)])


def _cast(nodes: list[Any], value: str, name: str, kind: int) -> str:
    nodes.append(helper.make_node("Cast", [value], [name], to=kind))
    return name
