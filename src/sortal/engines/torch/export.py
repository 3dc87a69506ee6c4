"""From a torch module to an ONNX graph held in memory."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.jit._trace import TracerWarning  # where it is defined; torch.jit does not export it by name

from sortal.errors import NotSupported

OPSET = 17


def to_onnx(module: nn.Module, *, size: int, channels: int, outputs: Sequence[str]) -> bytes:
    """The module as a graph from `images`, uint8 (N, S, S, C), to `outputs`, float32, for any N.

    Raises `NotSupported` where ONNX has no words for what the module does.
    """
    buffer = io.BytesIO()
    example = torch.zeros((2, size, size, channels), dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode(), _failures_explained():
        # The tracer takes a second where the newer exporter takes 17 (EfficientNet-Lite0, measured). It can take for a constant
        # what is none: whoever calls this compares the graph with its module before using it.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        torch.onnx.export(
            module.eval(),
            (example,),
            cast(Any, buffer),  # it takes a file too; its annotation forgot
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_axes={name: {0: "N"} for name in ("images", *outputs)},
        )
    return buffer.getvalue()


@contextlib.contextmanager
def _failures_explained() -> Iterator[None]:
    """Turn the exporter's errors into one with a cure."""
    # It prints the whole graph first, and standard output belongs to the answer.
    torch._C._jit_set_onnx_log_output_stream("stderr")
    torch._C._jit_set_onnx_log_enabled(False)
    try:
        yield
    except (torch.onnx.errors.OnnxExporterError, torch.onnx.errors.UnsupportedOperatorError) as error:
        raise NotSupported(
            f"this network cannot be written as an ONNX graph at this size: {str(error).partition('. ')[0]}",
            hint="take another image_size or another model; a bundle cannot be made without the graph",
        ) from error
