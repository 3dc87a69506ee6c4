"""ONNX: the bundle's graph in float32, float16 or int8, and the same behind a resize for images of any size."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto

from sortal.engines.inspection import inspect
from sortal.engines.onnx import OnnxGraph
from sortal.exports import describe
from sortal.exports.graphs import IMAGE, IMAGES, described, of_any_size, simplified
from sortal.exports.kind import FLOAT16, FLOAT32, INT8, Answers, AnySize, Order, Told
from sortal.preprocess import Preprocess, network_pixels, open_rgb

ADDED = "sortal."
MODEL, ANY_SIZE = "model.onnx", "any_size.onnx"
# Softmax and what stands behind it stays in float32: a probability of 0.9999 has no neighbours in half precision.
KEPT_IN_FLOAT32 = ["Softmax", "Sigmoid", "Resize"]


def model_of(order: Order) -> tuple[ModelProto, dict[str, Any]]:
    """The bundle's graph in the precision ordered, and what was decided on the way."""
    plain = simplified(order.bundle.graph)
    if order.precision == FLOAT16:
        return _halved(plain), {}
    if order.precision == INT8:
        from sortal.exports.int8 import quantized

        found = quantized(plain, order)
        return found.model, found.to_json()
    return plain, {}


def _halved(model: ModelProto) -> ModelProto:
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    blocked = [*DEFAULT_OP_BLOCK_LIST, *KEPT_IN_FLOAT32]
    behind = [node.name for node in model.graph.node if node.name.startswith(ADDED)]  # calibration and novelty
    halved: ModelProto = convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked, node_block_list=behind)
    _without_repeated_casts(halved)
    OnnxModel(halved).topological_sort()  # casts were put at the end
    return halved


def _without_repeated_casts(model: ModelProto) -> None:
    """The converter casts a tensor once for each step that stays in float32, under one name; once is enough."""
    made: set[str] = set()
    kept = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.output[0] in made:
            continue
        made.update(node.output)
        kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def inspected(path: Path, about: Mapping[str, Any]) -> tuple[OnnxGraph, Preprocess]:
    """An export's graph, opened after its bytes were looked at, and what makes images for it."""
    preprocess, data = Preprocess.from_dict(about["preprocess"]), path.read_bytes()
    inspect(data, path, preprocess)
    return OnnxGraph(data, limited=True), preprocess


def _interface(about: Mapping[str, Any]) -> list[str]:
    return [
        f"`{MODEL}` takes `{IMAGES}`, `{ANY_SIZE}` one `{IMAGE}`.",
        *describe.prepared(about),
        f"The `{IMAGE}` of `{ANY_SIZE}` {describe.of_any_size(about)}",
    ]


class Onnx:
    """`model.onnx` takes `images` as they are prepared everywhere else, `any_size.onnx` one `image` as it is decoded."""

    precisions = (FLOAT32, FLOAT16, INT8)
    holds_code = False
    usage = describe.Usage(examples=("onnx.py", "any_size.py"), interface=_interface)

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        model, decided = model_of(order)
        (folder / ANY_SIZE).write_bytes(described(of_any_size(model, order.bundle.preprocess), order.about))
        (folder / MODEL).write_bytes(described(model, order.about))
        describe.write_modules(folder)
        return {"model": [MODEL], **decided}

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        graph, preprocess = inspected(folder / MODEL, about)
        yield lambda images_NRRC: Told.named(graph.outputs(network_pixels(images_NRRC, preprocess)))

    @contextmanager
    def open_any_size(self, folder: Path, about: Mapping[str, Any]) -> Iterator[AnySize]:
        preprocess = Preprocess.from_dict(about["preprocess"])
        session = onnxruntime.InferenceSession(str(folder / ANY_SIZE), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def answer(data: bytes) -> Told:
            image, *_ = open_rgb(data, max_pixels=preprocess.max_pixels)
            return Told.named(dict(zip(names, session.run(names, {IMAGE: np.asarray(image)}), strict=True)))

        yield answer


ONNX = Onnx()
