"""OpenVINO: the bundle's graph in its format, computed in float32 or bfloat16, or quantised to int8 by NNCF."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.engines.onnx import chunk_size
from sortal.errors import MissingExtra
from sortal.exports import describe
from sortal.exports.choosing import GOOD, Candidate, best, divergence, halves
from sortal.exports.kind import BFLOAT16, FLOAT32, INT8, Answers, AnySize, Order
from sortal.preprocess import Preprocess, network_pixels

MODEL, WEIGHTS = "model.xml", "model.bin"
COMPUTED_IN = {FLOAT32: "f32", BFLOAT16: "bf16", INT8: "f32"}
"""The hint for what is not quantised. Left alone, OpenVINO takes bfloat16 wherever the processor has it."""


class OpenVino:
    """`model.xml` and `model.bin`; classes, preprocessing and the hint are in the model's runtime information."""

    precisions = (FLOAT32, BFLOAT16, INT8)
    example = "openvino.py"

    def write(self, folder: Path, order: Order) -> Mapping[str, Any]:
        import onnx

        from sortal.exports.graphs import simplified

        ov = _openvino()
        plain = folder / ".model.onnx"
        onnx.save(simplified(order.bundle.graph), plain)
        model = ov.convert_model(str(plain))
        plain.unlink()
        decided: dict[str, Any] = {"computed_in": COMPUTED_IN[order.precision]}
        if order.precision == INT8:
            model, told = _quantized(ov, model, order)
            decided |= told
        model.set_rt_info(json.dumps({**order.about, **decided}, ensure_ascii=False), ["sortal"])
        ov.save_model(model, str(folder / MODEL), compress_to_fp16=False)
        describe.write_modules(folder)
        return {"model": [MODEL, WEIGHTS], **decided}

    @contextmanager
    def open(self, folder: Path, about: Mapping[str, Any]) -> Iterator[Answers]:
        ov = _openvino()
        core = ov.Core()
        run = _runner(ov, core, core.read_model(str(folder / MODEL)), about["computed_in"])
        preprocess = Preprocess.from_dict(about["preprocess"])
        yield lambda images_NRRC: run(network_pixels(images_NRRC, preprocess))

    def open_any_size(self, folder: Path) -> AnySize | None:
        return None


def _runner(ov: Any, core: Any, model: Any, computed_in: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The model on all cores: a stream a core, each with chunks of its own, as ONNX Runtime runs the bundle's graph."""
    streams = cpu_count() or 1
    settings = {"INFERENCE_PRECISION_HINT": computed_in, "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(streams)}
    compiled = core.compile_model(model, "CPU", settings)
    queue = ov.AsyncInferQueue(compiled, streams)

    def run(images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = chunk_size(images_NSSC.shape[1:])
        parts: dict[int, NDArray[np.float32]] = {}
        queue.set_callback(lambda request, start: parts.__setitem__(start, request.get_output_tensor(0).data.copy()))
        for start in range(0, len(images_NSSC), size):
            queue.start_async({0: np.ascontiguousarray(images_NSSC[start : start + size])}, start)
        queue.wait_all()
        return np.concatenate([parts[start] for start in sorted(parts)])

    return run


def _quantized(ov: Any, model: Any, order: Order) -> tuple[Any, dict[str, Any]]:
    """NNCF's static quantisation, weights per channel; the first form that is good, the last without the layers that hurt."""
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise MissingExtra("NNCF (needed for OpenVINO in int8)", "export") from error

    calibrating_NSSC, judging_NSSC = halves(network_pixels(order.training(), order.bundle.preprocess))
    core = ov.Core()
    source = _runner(ov, core, model, COMPUTED_IN[FLOAT32])
    source_NK = source(judging_NSSC)
    images = nncf.Dataset([image[None] for image in calibrating_NSSC])
    behind = nncf.IgnoredScope(patterns=[r"sortal\..*"], validate=False)  # from logits to probabilities, to novelty
    options = {"ignored_scope": behind, "subset_size": len(calibrating_NSSC), "target_device": nncf.TargetDevice.CPU}

    def agreement(compiled: Any, judged: Iterable[NDArray[np.uint8]]) -> float:
        found_NK = np.concatenate([compiled(image)[0] for image in judged])
        return 1 - divergence(found_NK, source_NK)  # NNCF divides by the value of the model that is not quantised

    def candidates() -> Iterator[Candidate]:
        with _quiet(nncf):
            plain = nncf.quantize(model.clone(), images, preset=nncf.QuantizationPreset.PERFORMANCE, **options)
        yield Candidate("all layers", plain, _runner(ov, core, plain, COMPUTED_IN[FLOAT32]))
        with _quiet(nncf):
            finer = nncf.quantize(
                model.clone(), images, preset=nncf.QuantizationPreset.MIXED, fast_bias_correction=False, **options
            )
        yield Candidate("all layers, every bias corrected", finer, _runner(ov, core, finer, COMPUTED_IN[FLOAT32]))
        with _quiet(nncf):
            kept = nncf.quantize_with_accuracy_control(
                model.clone(),
                images,
                nncf.Dataset([image[None] for image in judging_NSSC]),
                validation_fn=agreement,
                max_drop=GOOD,
                **options,
            )
        yield Candidate("without the layers that hurt most", kept, _runner(ov, core, kept, COMPUTED_IN[FLOAT32]))

    chosen = best(candidates(), source, judging_NSSC)
    return chosen.candidate.model, {"quantization": chosen.to_json()}


@contextlib.contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """NNCF draws bars and writes a log; our users have bars of their own."""
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _openvino() -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtra("OpenVINO", "export") from error
    return openvino


OPENVINO = OpenVino()
