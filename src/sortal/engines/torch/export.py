"""From a torch module to an ONNX graph held in memory, with our metadata inside."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import onnx
import torch
from torch import nn
from torch.jit._trace import TracerWarning  # where it is defined; torch.jit does not export it by name

from sortal.errors import NotSupported

OPSET = 17


def to_onnx(module: nn.Module, *, size: int, channels: int, output: str) -> bytes:
    """The module as a graph from `images`, uint8 (N, S, S, C), to `output`, float32, for any N.

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
            output_names=[output],
            dynamic_axes={"images": {0: "N"}, output: {0: "N"}},
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


def with_initializer(graph: bytes, name: str, value: float, metadata: Mapping[str, str]) -> bytes:
    """The graph with the scalar called `name` set to `value`, and with metadata."""
    model = onnx.load_from_string(graph)
    found = [tensor for tensor in model.graph.initializer if tensor.name == name]
    assert len(found) == 1, f"the graph has {len(found)} scalars called {name!r}"
    found[0].CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
    onnx.helper.set_model_props(model, dict(metadata))
    data: bytes = model.SerializeToString()
    return data
