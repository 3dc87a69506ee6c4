"""Graphs as they are deployed: what comes after the logits of an exported network, written into its ONNX graph.

Calibration makes probabilities of the logits, and the distance to remembered features says how novel an image is; so whoever
has the file has both, without us.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.evaluation.calibrators import BOTTOM, FLATTEST, Calibrator
from sortal.evaluation.novelty import TINY, Memory

PROBABILITIES, LOGITS, NOVELTY = "probabilities", "logits", "novelty"
PREFIX = "sortal."
"""Before the names of all tensors that are added, so that none is the network's own."""


def deployed(graph: bytes, calibrator: Calibrator, memory: Memory | None, metadata: Mapping[str, str]) -> bytes:
    """The graph of an `Assembled` with the outputs `probabilities` (N, K), `logits` (N, K) and, with a memory, `novelty` (N,).

    `metadata` says what the graph is, so that the file alone is enough to use it.
    """
    import onnx

    model = onnx.load_from_string(graph)
    outputs = {output.name: output for output in model.graph.output}
    tail = _Tail([], [])
    tail.calibrate(calibrator)
    named = [onnx.helper.make_tensor_value_info(PROBABILITIES, onnx.TensorProto.FLOAT, _shape(outputs[LOGITS]))]
    named.append(outputs[LOGITS])
    if memory is not None:
        tail.measure_novelty(memory)
        named.append(onnx.helper.make_tensor_value_info(NOVELTY, onnx.TensorProto.FLOAT, ["N"]))
    model.graph.node.extend(tail.nodes)
    model.graph.initializer.extend(tail.initializers)
    del model.graph.output[:]
    model.graph.output.extend(named)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _shape(output: Any) -> list[Any]:
    return [axis.dim_param or axis.dim_value for axis in output.type.tensor_type.shape.dim]


@dataclass(frozen=True, slots=True)
class _Tail:
    """Nodes and constants that are added, in the order in which they work."""

    nodes: list[Any]
    initializers: list[Any]

    def calibrate(self, calibrator: Calibrator) -> None:
        """From `logits` to `probabilities`, as a `Calibrator` does."""
        name = LOGITS
        if calibrator.method in ("temperature", "vector"):
            name = self._add("Mul", [name, self._constant("scale", calibrator.scale_K)])
        if calibrator.method == "vector":
            name = self._add("Add", [name, self._constant("bias", calibrator.bias_K)])
        if len(calibrator.knots_M):
            name = self._rising(name, calibrator)
        if calibrator.activation == "softmax":
            self._add("Softmax", [name], to=PROBABILITIES, axis=1)
        else:
            self._add("Sigmoid", [name], to=PROBABILITIES)

    def _rising(self, name: str, calibrator: Calibrator) -> str:
        """The piecewise linear map: a line, and at each knot a change of its slope."""
        if calibrator.activation == "softmax":
            name = self._add("LogSoftmax", [name], axis=1)
            name = self._add("Max", [name, self._constant("bottom", np.array(BOTTOM))])
        knots_M, values_M = calibrator.knots_M, calibrator.values_M
        start = self._constant("start", np.array(values_M[0] - FLATTEST * knots_M[0]))
        line = self._add("Add", [self._add("Mul", [name, self._constant("flattest", np.array(FLATTEST))]), start])
        spread = self._add("Unsqueeze", [name, self._constant("last", np.array([2]), np.int64)])
        beyond = self._add("Relu", [self._add("Sub", [spread, self._constant("knots", knots_M)])])
        bends = self._add("MatMul", [beyond, self._constant("bends", calibrator.bends_M)])
        return self._add("Add", [line, bends])

    def measure_novelty(self, memory: Memory) -> None:
        """From `features` to `novelty`, as `Memory.distances` does."""
        norm = self._add("ReduceL2", ["features"], axes=[1], keepdims=1)
        unit = self._add("Div", ["features", self._add("Max", [norm, self._constant("tiny", np.array(TINY))])])
        alike = self._add("MatMul", [unit, self._constant("memory", memory.unit_BD.T)])
        count = self._constant("neighbours", np.array([memory.neighbours]), np.int64)
        nearest = PREFIX + "nearest"
        self._node("TopK", [alike, count], [nearest, PREFIX + "places"], axis=1)
        last = self._constant("nth", np.array(memory.neighbours - 1), np.int64)
        similarity = self._add("Gather", [nearest, last], axis=1)
        self._add("Sub", [self._constant("one", np.array(1.0)), similarity], to=NOVELTY)

    def _constant(self, name: str, values: NDArray[Any], kind: type = np.float32) -> str:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.array(values, dtype=kind, order="C"), PREFIX + name))
        return PREFIX + name

    def _add(self, kind: str, inputs: Sequence[str], *, to: str | None = None, **attributes: Any) -> str:
        name = to or f"{PREFIX}{kind}_{len(self.nodes)}"
        self._node(kind, inputs, [name], **attributes)
        return name

    def _node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, name=f"{PREFIX}{kind}_{len(self.nodes)}", **attributes))
