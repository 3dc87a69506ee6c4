"""Inference in OpenVINO: the same graphs as ONNX Runtime's, several chunks at once, where the package is installed."""

import sys
import threading
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sortal.engines.onnx import chunk_size
from sortal.errors import MissingExtra

Precision = Literal["float32", "bf16"]
HINTS = {"float32": "f32", "bf16": "bf16"}


def installed() -> bool:
    """Whether OpenVINO can be imported; nothing is."""
    return find_spec("openvino") is not None


def version() -> str:
    """The version whose arithmetic it is."""
    return str(package().__version__)


def computes_bf16() -> bool:
    """Whether this processor multiplies bf16 numbers itself; elsewhere they would be slower than float32."""
    return "BF16" in package().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def package() -> Any:
    """OpenVINO itself, which tells nobody that it is used; raises `MissingExtra`."""
    # To import it is enough for a message to Google Analytics and a number in the user's home, unasked. Where its package for
    # that cannot be imported, it and NNCF go without.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("OpenVINO", "fast") from error
    return openvino


class OpenVinoGraph:
    """A graph with one uint8 input of shape (N, S, S, C) and one float32 output of shape (N, ...), one stream a core.

    Images go through in chunks of one size, filled up, so that an image's bits do not depend on the images beside it.
    """

    def __init__(self, graph: bytes, *, shape: tuple[int, int, int], threads: int, precision: Precision = "float32") -> None:
        """`shape` is that of one image; `precision` is what convolutions and products are computed in."""
        openvino = package()
        core = openvino.Core()
        model = core.read_model(graph)
        self.size = chunk_size(shape)
        # A fixed batch lets it choose its kernels once.
        model.reshape([self.size, *shape])
        settings = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
        self._queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", settings), threads)
        self._queue.set_callback(_keep)
        self._lock = threading.Lock()

    def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        total = len(images_NSSC)
        missing = -total % self.size
        if missing:
            images_NSSC = np.concatenate([images_NSSC, np.zeros((missing, *images_NSSC.shape[1:]), np.uint8)])
        parts: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * (len(images_NSSC) // self.size)
        with self._lock:
            for number in range(len(parts)):
                chunk = images_NSSC[number * self.size : (number + 1) * self.size]
                self._queue.start_async({0: np.ascontiguousarray(chunk)}, (parts, number))
            self._queue.wait_all()
        return np.concatenate(parts)[:total]


def _keep(request: Any, place: tuple[list[NDArray[np.float32]], int]) -> None:
    """Take a finished chunk's output out of the request, whose memory the next chunk will use."""
    parts, number = place
    parts[number] = request.get_output_tensor(0).data.copy()
