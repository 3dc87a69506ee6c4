"""Inference without a framework: ONNX Runtime runs a graph from uint8 images to features or probabilities."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.errors import BundleError
from sortal.events import Observer, Progress, ignore
from sortal.preprocess import Preprocess, network_pixels

if TYPE_CHECKING:
    from sortal.data.samples import Pixels

# Chunks of one fixed size, since ONNX Runtime's memory grows with every new batch size. EfficientNet-Lite0 ran 49 images/s in
# chunks of 8 on one core and 53 in batches of 32 on two, so each core gets chunks of its own.
PIXELS_IN_CHUNK = 8 * 224 * 224
ROWS_AT_ONCE = 512  # of stored pixels that are read together


class OnnxGraph:
    """A graph with one uint8 input of shape (N, S, S, C) and one float32 output of shape (N, ...), on all cores."""

    def __init__(self, graph: bytes | Path, *, threads: int = 0) -> None:
        self.threads = threads or cpu_count() or 1
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            source = graph if isinstance(graph, bytes) else str(graph)
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many classes of its own that have no common base but this
            raise BundleError(
                f"ONNX Runtime cannot open the graph: {error}", hint="make the bundle again with `sortal train`"
            ) from error
        self.name = self.session.get_inputs()[0].name

    def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run all images in chunks of one size, all filled up but for a chunk that is alone: one image must not cost eight.

        So the last bits of an image's result may differ between few and many images; `padded` pays for bits that do not.
        """
        total = len(images_NSSC)
        size = chunk_size(images_NSSC.shape[1:])
        chunks = [images_NSSC[start : start + size] for start in range(0, total, size)]
        if len(chunks) <= 1:
            return self._run(images_NSSC, pad_to=0)[:total]
        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(lambda chunk: self._run(chunk, pad_to=size), chunks))
        return np.concatenate(parts)

    def of_rows(
        self, pixels: "Pixels", rows_M: NDArray[np.int64], preprocess: Preprocess, *, observe: Observer = ignore
    ) -> NDArray[np.float32]:
        """The output for stored pixels, shape (M, ...), a bounded number of rows at once."""
        parts = []
        for start in range(0, len(rows_M), ROWS_AT_ONCE):
            parts.append(self(network_pixels(pixels.read(rows_M[start : start + ROWS_AT_ONCE]), preprocess)))
            observe(Progress("evaluate", min(start + ROWS_AT_ONCE, len(rows_M)), len(rows_M)))
        return np.concatenate(parts)

    def padded(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As a call, but even a single chunk is filled up, so that the same image gives the same bits in every company."""
        size = chunk_size(images_NSSC.shape[1:])
        if len(images_NSSC) >= size:
            return self(images_NSSC)
        return self._run(images_NSSC, pad_to=size)

    def _run(self, images_NSSC: NDArray[np.uint8], *, pad_to: int) -> NDArray[np.float32]:
        count = len(images_NSSC)
        if count < pad_to:
            filler = np.zeros((pad_to - count, *images_NSSC.shape[1:]), dtype=np.uint8)
            images_NSSC = np.concatenate([images_NSSC, filler])
        output: NDArray[np.float32] = self.session.run(None, {self.name: np.ascontiguousarray(images_NSSC)})[0]
        return output[:count]


def chunk_size(shape: Sequence[int]) -> int:
    """Images in one chunk, for images of this shape (S, S, C)."""
    return max(1, min(64, PIXELS_IN_CHUNK // (shape[0] * shape[1])))


def predictor(bundle: Bundle) -> OnnxGraph:
    """The bundle's own graph: preprocessed uint8 images (N, S, S, C) to calibrated probabilities (N, K)."""
    return OnnxGraph(bundle.graph)
