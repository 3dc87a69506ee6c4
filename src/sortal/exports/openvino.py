"""OpenVINO: the bundle's graph in its format, computed in float32 or bfloat16, or quantised to int8 by NNCF."""

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from sortal.engines.onnx import OnnxGraph, chunk_size
from sortal.engines.openvino import package
from sortal.errors import MissingExtra
from sortal.exports import describe
from sortal.exports.choosing import Candidate, best, halves
from sortal.exports.kind import BFLOAT16, FLOAT32, INT8, Answers, AnySize, Order, Told
from sortal.preprocess import Preprocess, network_pixels

MODEL, WEIGHTS = "model.xml", "model.bin"
COMPUTED_IN = {FLOAT32: "f32", BFLOAT16: "bf16", INT8: "f32"}
"""The hint for what is not quantised. Left alone, OpenVINO takes bfloat16 wherever the processor has it."""


class OpenVino:
    """`model.xml` and `model.bin`; classes, preprocessing and the hint are in the model's runtime information."""

    precisions = (FLOAT32, BFLOAT16, INT8)
    holds_code = False
    usage = describe.Usage(examples=("openvino.py",))

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        from sortal.exports.graphs import simplified

        ov = package()
        graph = simplified(order.bundle.graph)
        model = _converted(ov, graph)
        decided: dict[str, Any] = {"computed_in": COMPUTED_IN[order.precision]}
        if order.precision == INT8:
            model, told = _quantized(ov, model, graph, order)
            decided |= told
        model.set_rt_info(json.dumps({**order.about, **decided}, ensure_ascii=False), ["sortal"])
        ov.save_model(model, str(folder / MODEL), compress_to_fp16=False)
        describe.write_modules(folder)
        return {"model": [MODEL, WEIGHTS], **decided}

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        ov = package()
        core = ov.Core()
        run = _runner(ov, core, core.read_model(str(folder / MODEL)), about["computed_in"])
        preprocess = Preprocess.from_dict(about["preprocess"])
        yield lambda images_NRRC: run(network_pixels(images_NRRC, preprocess))

    def open_any_size(self, folder: Path, about: Mapping[str, Any]) -> AbstractContextManager[AnySize] | None:
        return None


def _runner(ov: Any, core: Any, model: Any, computed_in: str) -> Answers:
    """The model on all cores: a stream a core, each with chunks of its own, as ONNX Runtime runs the bundle's graph."""
    streams = cpu_count() or 1
    settings = {"INFERENCE_PRECISION_HINT": computed_in, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(streams)}
    compiled = core.compile_model(model, "CPU", settings)
    queue = ov.AsyncInferQueue(compiled, streams)
    names = [output.any_name for output in compiled.outputs]

    def run(images_NSSC: NDArray[np.uint8]) -> Told:
        size = chunk_size(images_NSSC.shape[1:])
        parts: dict[int, Told] = {}

        def keep(request: Any, start: int) -> None:
            parts[start] = Told.named({name: request.get_tensor(name).data.copy() for name in names})

        queue.set_callback(keep)
        for start in range(0, len(images_NSSC), size):
            queue.start_async({0: np.ascontiguousarray(images_NSSC[start : start + size])}, start)
        queue.wait_all()
        return Told.joined(parts[start] for start in sorted(parts))

    return run


def _converted(ov: Any, graph: ModelProto) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(graph, Path(folder) / "model.onnx")
        return ov.convert_model(str(Path(folder) / "model.onnx"))


def _quantized(ov: Any, model: Any, graph: ModelProto, order: Order) -> tuple[Any, dict[str, Any]]:
    """The nearest of NNCF's form and of those that ONNX may take, some without the layers that hurt; weights per channel."""
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise MissingExtra("NNCF (needed for OpenVINO in int8)", "export") from error
    from sortal.exports.int8 import Work, forms, named

    calibrating_NSSC, judging_NSSC = halves(network_pixels(order.training(), order.bundle.preprocess))
    core, whole = ov.Core(), named(graph)

    def run(found: Any) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        answers = _runner(ov, core, found, COMPUTED_IN[FLOAT32])
        return lambda images_NSSC: answers(images_NSSC).probs_NK

    def candidates(folder: Path) -> Iterator[Candidate]:
        with _quiet(nncf):
            plain = nncf.quantize(
                model.clone(),
                nncf.Dataset([image[None] for image in calibrating_NSSC]),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                ignored_scope=nncf.IgnoredScope(patterns=[r"sortal\..*"], validate=False),  # from logits to probabilities
                subset_size=len(calibrating_NSSC),
                target_device=nncf.TargetDevice.CPU,
            )
        yield Candidate("by NNCF", plain, run(plain))
        graph_of = OnnxGraph(whole.SerializeToString())
        for form in forms(Work(folder, whole, calibrating_NSSC), graph_of, judging_NSSC, order):
            read = _converted(ov, form.model)
            yield Candidate(f"by ONNX Runtime, {form.told}", read, run(read))

    with tempfile.TemporaryDirectory() as folder:
        chosen = best(candidates(Path(folder)), run(model), judging_NSSC, least=3)
    return chosen.candidate.model, {"quantization": chosen.to_json()}


@contextlib.contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """NNCF draws bars and writes a log; our users have bars of their own."""
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


OPENVINO = OpenVino()
