"""int8 for ONNX: static quantisation by ONNX Runtime, weights per channel, the layers that hurt most left out."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from sortal.engines.onnx import OnnxGraph
from sortal.errors import NotSupported
from sortal.events import Progress
from sortal.exports.choosing import Candidate, Choice, best, divergence, halves
from sortal.exports.graphs import IMAGES
from sortal.exports.kind import Order
from sortal.preprocess import network_pixels

LAYERS = ("Conv", "Gemm", "MatMul")
BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Relu", "Reshape", "Transpose")
"""What stands between layers and can stay in int8, so that numbers need not go back and forth. Softmax is not among it."""
ADDED, ENDS = "sortal.", ("logits", "features")
"""Names of what a bundle puts behind its network, and of what the network itself ends in."""
LEFT_OUT = (1, 2, 4, 8)
"""How many of the layers that hurt most are tried without."""
TRIED_ON = 24
"""Images on which each layer is quantised alone."""
BATCH = 8
PERCENTILE = 99.99


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantised graph, and how it was chosen."""

    model: ModelProto
    choice: Choice
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"quantization": {**self.choice.to_json(), "left_out": list(self.left_out)}}


def quantized(model: ModelProto, order: Order) -> Quantized:
    """The graph in int8: ranges by extremes or percentiles, whichever is nearer, else without the layers that hurt most.

    Half of the training images give the ranges of activations, the other half judge: by divergence of probabilities from those
    of the float32 graph. Weights have a scale a channel and are signed, activations are unsigned (what AVX512-VNNI multiplies).
    """
    whole = named(model)
    calibrating, judging = halves(network_pixels(order.training(), order.bundle.preprocess))
    source = OnnxGraph(whole.SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), whole, calibrating)
        choice = best(forms(work, source, judging, order), source, judging, least=2)
    left_out = work.left_out[choice.candidate.told]
    return Quantized(choice.candidate.model, choice, left_out)


def forms(work: "Work", source: OnnxGraph, judging: NDArray[np.uint8], order: Order) -> Iterator[Candidate]:
    """Ways to quantise, the quickest ones first: all layers with two methods of ranges, then without the worst of them."""
    extremes = work.candidate("extremes", ())
    yield extremes
    percentiles = work.candidate("percentiles", ())
    yield percentiles
    judged = judging[:TRIED_ON]
    source_NK = source(judged)
    both = {
        method: divergence(each.run(judged), source_NK)
        for method, each in (("extremes", extremes), ("percentiles", percentiles))
    }
    method = min(both, key=lambda name: both[name])
    layers = [node.name for node in work.model.graph.node if node.op_type in LAYERS and node.name not in work.tail]
    harm = []
    for done, layer in enumerate(layers, start=1):
        harm.append(divergence(work.alone(method, layer)(judged), source_NK))
        order.observe(Progress("trying layers", done, len(layers), "layers"))
    worst = [layers[place] for place in np.argsort(harm, kind="stable")[::-1]]
    for count in LEFT_OUT:
        if count < len(layers):
            yield work.candidate(method, tuple(worst[:count]))


class Work:
    """Quantised forms of one graph; ranges are measured once for each method."""

    def __init__(self, folder: Path, model: ModelProto, images_NSSC: NDArray[np.uint8]) -> None:
        self.folder = folder
        # As a file: of a graph in memory the quantiser moves the weights out, to a place that it then removes.
        self.source = folder / "source.onnx"
        onnx.save(model, self.source)
        self.model = model
        self.images_NSSC = images_NSSC
        self.left_out: dict[str, tuple[str, ...]] = {}
        self.tail = _tail(model)

    def candidate(self, method: str, without: tuple[str, ...]) -> Candidate:
        told = f"ranges by {method}" + (f", {len(without)} of the layers in float32" if without else "")
        self.left_out[told] = without
        found = self._quantize(method, exclude=without)
        return Candidate(told, found, OnnxGraph(found.SerializeToString()))

    def alone(self, method: str, layer: str) -> OnnxGraph:
        """The graph with this one layer in int8."""
        return OnnxGraph(self._quantize(method, only=(layer,)).SerializeToString())

    def _quantize(self, method: str, *, exclude: Sequence[str] = (), only: Sequence[str] = ()) -> ModelProto:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        target = self.folder / "quantized.onnx"
        methods = {"extremes": CalibrationMethod.MinMax, "percentiles": CalibrationMethod.Percentile}
        with _quiet():
            quantize_static(
                self.source,
                target,
                _Reader(self.images_NSSC),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*LAYERS, *BETWEEN],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=list(only),
                nodes_to_exclude=[*exclude, *self.tail],
                calibrate_method=methods[method],
                extra_options={
                    "CalibPercentile": PERCENTILE,
                    "CalibTensorRangeSymmetric": False,
                    "OpTypesToExcludeOutputQuantization": ["Gemm"],  # logits: the last layer's output stays as fine as it is
                },
                calibration_cache_path=self.folder / f"{method}.json",
            )
        return onnx.load(target)


class _Reader:
    """Images as ONNX Runtime's calibration reads them: in batches of one size, without which its histograms fail."""

    def __init__(self, images_NSSC: NDArray[np.uint8]) -> None:
        size = min(BATCH, len(images_NSSC))
        starts = range(0, len(images_NSSC) - size + 1, size)
        self.feeds = iter([{IMAGES: np.ascontiguousarray(images_NSSC[start : start + size])} for start in starts])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self.feeds, None)


def named(model: ModelProto) -> ModelProto:
    """A copy in which every step has a name of its own, which is how layers are left out."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for number, node in enumerate(copy.graph.node):
        node.name = f"{node.op_type}_{number}"
    if not any(node.op_type in LAYERS for node in copy.graph.node):
        raise NotSupported("this network has no layer that int8 could speed up", hint="take another --precision")
    return copy


def _tail(model: ModelProto) -> set[str]:
    """Names of the steps behind the last layers, which stay as they are: from logits to probabilities, features to novelty."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    reached = [output.name for output in model.graph.output if output.name not in ENDS]
    tail: set[str] = set()
    while reached:
        node = made_by.get(reached.pop())
        if node is None or node.name in tail:
            continue
        added = any(name.startswith(ADDED) for name in node.input)
        if node.op_type in LAYERS and not added:
            continue
        tail.add(node.name)
        reached.extend(name for name in node.input if name not in ENDS)
    return tail


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser prints, and advises through the root logger; neither is for our users."""
    root = logging.getLogger()
    was = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        root.setLevel(was)
