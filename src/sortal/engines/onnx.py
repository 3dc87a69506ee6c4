"""Inference without a framework: ONNX Runtime runs a graph from uint8 images to features or probabilities."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.data.memory import free_memory
from sortal.engines.inspection import inspect
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
    """A graph with one uint8 input of shape (N, S, S, C) and float32 outputs of shape (N, ...), on all cores.

    The first output is what the graph is for: features or probabilities. `outputs` gives the others too, by name.
    With `limited` it shares memory with all graphs that are, no more than was free at first; one that asks for more fails.
    """

    def __init__(self, graph: bytes | Path, *, threads: int = 0, limited: bool = False) -> None:
        self.threads = threads or cpu_count() or 1
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if limited:
            _limit_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            source = graph if isinstance(graph, bytes) else str(graph)
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many classes of its own that have no common base but this
            raise BundleError(
                f"ONNX Runtime cannot open the graph: {error}", hint="make the bundle again with `sortal train`"
            ) from error
        self.name = self.session.get_inputs()[0].name
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The first output; see `outputs`."""
        return self.outputs(images_NSSC)[self.names[0]]

    def outputs(self, images_NSSC: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Run all images in chunks of one size, all filled up but for a chunk that is alone: one image must not cost eight.

        So the last bits of an image's result may differ between few and many images; `padded` pays for bits that do not.
        """
        size = chunk_size(images_NSSC.shape[1:])
        chunks = [images_NSSC[start : start + size] for start in range(0, len(images_NSSC), size)]
        if len(chunks) <= 1:
            return dict(zip(self.names, self._run(images_NSSC, pad_to=0), strict=True))
        with ThreadPoolExecutor(self.threads) as pool:
            return _joined(self.names, pool.map(lambda chunk: self._run(chunk, pad_to=size), chunks))

    def of_rows(
        self, pixels: "Pixels", rows_M: NDArray[np.int64], preprocess: Preprocess, *, observe: Observer = ignore
    ) -> NDArray[np.float32]:
        """The first output for stored pixels, shape (M, ...), a bounded number of rows at once."""
        return self.outputs_of_rows(pixels, rows_M, preprocess, observe=observe)[self.names[0]]

    def outputs_of_rows(
        self, pixels: "Pixels", rows_M: NDArray[np.int64], preprocess: Preprocess, *, observe: Observer = ignore
    ) -> dict[str, NDArray[np.float32]]:
        """All outputs by name for stored pixels, each of shape (M, ...)."""
        parts = []
        for start in range(0, len(rows_M), ROWS_AT_ONCE):
            found = self.outputs(network_pixels(pixels.read(rows_M[start : start + ROWS_AT_ONCE]), preprocess))
            parts.append([found[name] for name in self.names])
            observe(Progress("evaluate", min(start + ROWS_AT_ONCE, len(rows_M)), len(rows_M)))
        return _joined(self.names, parts)

    def padded(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As a call, but even a single chunk is filled up, so that the same image gives the same bits in every company."""
        size = chunk_size(images_NSSC.shape[1:])
        if len(images_NSSC) >= size:
            return self(images_NSSC)
        return self._run(images_NSSC, pad_to=size)[0]

    def _run(self, images_NSSC: NDArray[np.uint8], *, pad_to: int) -> list[NDArray[np.float32]]:
        count = len(images_NSSC)
        if count < pad_to:
            filler = np.zeros((pad_to - count, *images_NSSC.shape[1:]), dtype=np.uint8)
            images_NSSC = np.concatenate([images_NSSC, filler])
        images = {self.name: np.ascontiguousarray(images_NSSC)}
        try:
            found: list[NDArray[np.float32]] = self.session.run(None, images)
        except Exception as error:  # as above
            raise BundleError(f"the graph does not run: {error}", hint="make the bundle again with `sortal train`") from error
        return [output[:count] for output in found]


@cache
def _limit_memory() -> None:
    """Have ONNX Runtime refuse what would not fit, before the system ends the process for it."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg({"max_mem": free_memory()}))


def _joined(names: Sequence[str], parts: Iterable[Sequence[NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    """The outputs of several chunks, each put together."""
    return {name: np.concatenate(found) for name, found in zip(names, zip(*parts, strict=True), strict=True)}


def chunk_size(shape: Sequence[int]) -> int:
    """Images in one chunk, for images of this shape (S, S, C)."""
    return max(1, min(64, PIXELS_IN_CHUNK // (shape[0] * shape[1])))


def predictor(bundle: Bundle) -> OnnxGraph:
    """The bundle's own graph: preprocessed uint8 images (N, S, S, C) to calibrated probabilities (N, K), and whatever else it
    gives: 'logits' (N, K) before calibration and 'novelty' (N,), the distance to familiar images (`Bundle.novelty`).

    Raises `BundleError` for a graph that reaches out, brings code or asks for more than there is; see `engines.inspection`.
    """
    graph = bundle.graph.read_bytes()
    inspect(graph, bundle.graph, bundle.preprocess)
    return OnnxGraph(graph, limited=True)
