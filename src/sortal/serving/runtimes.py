"""Runtimes: what runs a bundle's graph, a batch a core; the fastest that is installed and gives the same answers."""

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sortal.engines.onnx import OnnxGraph
from sortal.errors import BundleError, MissingExtra
from sortal.serving.batching import BUCKETS, GAIN, LONGEST_BATCH, Network, Pace

AGREE = 1e-3
"""The largest difference of a probability between two runtimes, as for exports in float32."""
TIMES = 2
"""Runs of each size at the start; the shortest counts, since a disturbance only ever takes longer."""
RUNTIMES = ("auto", "onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class Warm:
    """A network that has run batches of every size that it will be given."""

    network: Network
    runtime: str
    pace: Pace
    probs_NK: NDArray[np.float32]
    """What it said of the pictures that it was warmed with."""


def opened(graph: bytes, shape_SSC: Sequence[int], *, runtime: str = "auto", lanes: int = 1) -> Warm:
    """Open a graph and warm it; 'auto' takes OpenVINO where it is installed, agrees with ONNX Runtime and is faster.

    Raises `BundleError` where no runtime can run the graph, `MissingExtra` where the one that was named is not installed.
    """
    if runtime == "openvino":
        return warm(openvino_network(graph, lanes), "openvino", shape_SSC)
    ours = warm(onnx_network(graph), "onnxruntime", shape_SSC)
    if runtime == "onnxruntime":
        return ours
    try:
        other = warm(openvino_network(graph, lanes), "openvino", shape_SSC)
    except (MissingExtra, BundleError):
        return ours
    agree = other.probs_NK.shape == ours.probs_NK.shape and float(np.abs(other.probs_NK - ours.probs_NK).max()) <= AGREE
    return other if agree and other.pace.each < ours.pace.each else ours


def warm(network: Network, runtime: str, shape_SSC: Sequence[int]) -> Warm:
    """Run sizes of batches on pictures of noise and time them, up to the first two in a row that bring nothing."""
    pace, random, in_vain = Pace(), np.random.default_rng(0), 0
    noise_NSSC = random.integers(0, 256, (BUCKETS[-1], *shape_SSC), dtype=np.uint8)
    probs_NK = _run(network, noise_NSSC[:1])
    for size in BUCKETS:
        seconds = []
        for _ in range(TIMES):
            began = time.perf_counter()
            probs_NK = _run(network, noise_NSSC[:size])
            seconds.append(time.perf_counter() - began)
        in_vain = in_vain + 1 if pace.seconds and min(seconds) / size > pace.each * (1 - GAIN) else 0
        pace.took(size, min(seconds))
        if in_vain == 2 or 2 * min(seconds) > LONGEST_BATCH:
            break
    return Warm(network, runtime, pace, probs_NK)


def onnx_network(graph: bytes) -> Network:
    """ONNX Runtime, one thread a batch."""
    session = OnnxGraph(graph, threads=1).session
    name = session.get_inputs()[0].name

    def network(images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        probs_NK: NDArray[np.float32] = session.run(None, {name: images_NSSC})[0]
        return probs_NK

    return network


def openvino_network(graph: bytes, lanes: int) -> Network:
    """OpenVINO in float32, one thread a batch and a request of its own for each lane."""
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("OpenVINO", "openvino") from error
    try:
        core = openvino.Core()
        # Without the hint, processors that know bfloat16 are given it, and the answers are others.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": lanes, "NUM_STREAMS": lanes}
        compiled = core.compile_model(core.read_model(graph, b""), "CPU", options)
        requests: queue.SimpleQueue[Callable[..., NDArray[np.float32]]] = queue.SimpleQueue()
        for _ in range(lanes):
            requests.put(compiled.create_infer_request().infer)
    except Exception as error:  # OpenVINO raises RuntimeError for everything, and others where its frontend does
        raise BundleError(f"OpenVINO cannot open the graph: {error}", hint="serve it with --runtime onnxruntime") from error

    def network(images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        infer = requests.get()
        try:
            # Copied, since the request writes its next answer into the same memory.
            return np.array(infer({0: images_NSSC})[0], dtype=np.float32)
        finally:
            requests.put(infer)

    return network


def _run(network: Network, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
    try:
        return network(images_NSSC)
    except BundleError:
        raise
    except Exception as error:  # runtimes have no common error
        raise BundleError(f"the graph does not run: {error}", hint="make the bundle again with `sortal train`") from error
