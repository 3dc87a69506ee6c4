"""OpenVINO: the bundle's graph in its format, computed in float32 or bfloat16, or quantised to int8 by NNCF."""

import json
from collections.abc import Callable, Mapping
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.engines.onnx import chunk_size
from sortal.errors import MissingExtra
from sortal.exports import describe
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
        describe.write_preprocess(folder)
        return {"model": [MODEL, WEIGHTS], **decided}

    def open(self, folder: Path, about: Mapping[str, Any]) -> Answers:
        ov = _openvino()
        core = ov.Core()
        run = _runner(ov, core, core.read_model(str(folder / MODEL)), about["computed_in"])
        preprocess = Preprocess.from_dict(about["preprocess"])
        return lambda images_NRRC: run(network_pixels(images_NRRC, preprocess))

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
    """NNCF's static quantisation, weights per channel; chosen as for ONNX among calibrations and layers left out."""
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise MissingExtra("NNCF (needed for OpenVINO in int8)", "export") from error
    from sortal.exports.choosing import Candidate, best, halves

    calibrating_NSSC, judging_NSSC = halves(network_pixels(order.training(), order.bundle.preprocess))
    core, source = ov.Core(), _runner(ov, ov.Core(), model, "f32")
    images = nncf.Dataset([image[None] for image in calibrating_NSSC])

    def candidate(told: str, **options: Any) -> Candidate:
        found = nncf.quantize(
            model.clone(), images, subset_size=len(calibrating_NSSC), target_device=nncf.TargetDevice.CPU, **options
        )
        return Candidate(told, found, _runner(ov, core, found, "f32"))

    chosen = best(
        [
            candidate("all layers", preset=nncf.QuantizationPreset.PERFORMANCE),
            candidate(
                "all layers, asymmetric activations, biases corrected",
                preset=nncf.QuantizationPreset.MIXED,
                fast_bias_correction=False,
            ),
        ],
        source,
        judging_NSSC,
    )
    return chosen.candidate.model, {"quantization": chosen.to_json()}


def _openvino() -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtra("OpenVINO", "export") from error
    return openvino


OPENVINO = OpenVino()
