"""Runtimes: what runs a bundle's graph, a batch a core; the fastest that is installed and gives the same answers."""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.engines import openvino as engine
from sortal.engines.inspection import NOVELTY
from sortal.engines.onnx import OnnxGraph
from sortal.errors import BundleError, MissingExtra
from sortal.serving.batching import BUCKETS, GAIN, LONGEST_BATCH, Network, Pace

AGREE = 1e-3
"""The largest difference of a probability between two runtimes, as for exports in float32."""
TIMES = 2
"""Runs of each size at the start; the shortest counts, since a disturbance only ever takes longer."""
LARGEST_COMPILED_OFTEN = 64 << 20
"""Bytes of a graph up to which OpenVINO compiles it anew for every size of batch."""


@dataclass(frozen=True, slots=True)
class Warm:
    """A network that has run batches of every size that it will be given."""

    network: Network
    runtime: str
    pace: Pace
    rows_NR: NDArray[np.float32]
    """What it said of the pictures that it was warmed with."""


def opened(graph: bytes, shape_SSC: Sequence[int], *, runtime: str = "auto", lanes: int = 1) -> Warm:
    """Open a graph and warm it; 'auto' takes OpenVINO where it is installed, agrees with ONNX Runtime and is faster.

    Raises `BundleError` where no runtime can run the graph, `MissingExtra` where the one that was named is not installed.
    """
    if runtime == "openvino":
        # OpenVINO takes what it is asked for; so a graph runs first where memory is limited.
        _run(onnx_network(graph), np.zeros((2, *shape_SSC), np.uint8))
        return warm(openvino_network(graph, lanes), "openvino", shape_SSC)
    ours = warm(onnx_network(graph), "onnxruntime", shape_SSC)
    if runtime == "onnxruntime":
        return ours
    try:
        other = warm(openvino_network(graph, lanes), "openvino", shape_SSC)
    except (MissingExtra, BundleError):
        return ours
    return other if _agree(ours.rows_NR, other.rows_NR) and other.pace.each < ours.pace.each else ours


def _agree(one_NR: NDArray[np.float32], other_MR: NDArray[np.float32]) -> bool:
    """Whether two runtimes say the same of the pictures that both were warmed with."""
    both = min(len(one_NR), len(other_MR))
    same_shape = one_NR.shape[1:] == other_MR.shape[1:]
    return same_shape and bool(np.allclose(one_NR[:both], other_MR[:both], rtol=AGREE, atol=AGREE))


def warm(network: Network, runtime: str, shape_SSC: Sequence[int]) -> Warm:
    """Run sizes of batches on pictures of noise and time them, up to the first two in a row that bring nothing."""
    pace, random, in_vain = Pace(), np.random.default_rng(0), 0
    noise_NSSC = random.integers(0, 256, (BUCKETS[-1], *shape_SSC), dtype=np.uint8)
    rows_NR = _run(network, noise_NSSC[:1])
    for size in BUCKETS:
        seconds = []
        for _ in range(TIMES):
            began = time.perf_counter()
            rows_NR = _run(network, noise_NSSC[:size])
            seconds.append(time.perf_counter() - began)
        in_vain = in_vain + 1 if pace.seconds and min(seconds) / size > pace.each * (1 - GAIN) else 0
        pace.took(size, min(seconds))
        if in_vain == 2 or 2 * min(seconds) > LONGEST_BATCH:
            break
    return Warm(network, runtime, pace, rows_NR)


def onnx_network(graph: bytes) -> Network:
    """ONNX Runtime, one thread a batch."""
    opened = OnnxGraph(graph, threads=1, limited=True)
    session, name = opened.session, opened.name
    wanted = _wanted(opened.names)

    def network(images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        return _rows(session.run(wanted, {name: images_NSSC}))

    return network


def openvino_network(graph: bytes, lanes: int) -> Network:
    """OpenVINO in float32, one thread a batch, and for each lane a request of its own.

    Each size of batch is compiled for itself: EfficientNet-Lite0 took 5.3 ms of a core for an image where the size was known
    and 6.3 where it was left open (7.1 in ONNX Runtime). Large graphs are compiled once, since each has its own weights.
    """
    openvino = engine.package()
    core = openvino.Core()
    # Without the hint, processors that know bfloat16 are given it, and the answers are others.
    options = {"INFERENCE_PRECISION_HINT": engine.HINTS["float32"], "INFERENCE_NUM_THREADS": lanes, "NUM_STREAMS": lanes}
    compiled: dict[int, queue.SimpleQueue[tuple[Any, list[str]]]] = {}
    one_at_a_time = threading.Lock()

    def requests(size: int, shape: Sequence[int]) -> "queue.SimpleQueue[tuple[Any, list[str]]]":
        key = size if len(graph) <= LARGEST_COMPILED_OFTEN else 0
        with one_at_a_time:
            if key not in compiled:
                model = core.read_model(graph, b"")
                if key:
                    model.reshape([key, *shape])
                made = core.compile_model(model, "CPU", options)
                wanted = _wanted([next(iter(output.names)) for output in made.outputs])
                compiled[key] = queue.SimpleQueue()
                for _ in range(lanes):
                    compiled[key].put((made.create_infer_request(), wanted))
        return compiled[key]

    def network(images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        free = requests(len(images_NSSC), images_NSSC.shape[1:])
        request, wanted = free.get()
        try:
            # Its own memory and its own steps: `infer` takes 0.4 ms more for making dictionaries of them.
            request.set_input_tensor(0, openvino.Tensor(images_NSSC, shared_memory=True))
            request.start_async()
            request.wait()
            # Copied, since the request writes its next answer into the same memory.
            return np.array(_rows([request.get_tensor(name).data for name in wanted]))
        finally:
            free.put((request, wanted))

    return network


def _wanted(names: Sequence[str]) -> list[str]:
    """The outputs that are used: the first, which are the probabilities, and the novelty where there is one."""
    return [names[0], *(name for name in names[1:] if name == NOVELTY)]


def _rows(found: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Outputs (N, K) and, if there is a second, (N,) side by side."""
    return found[0] if len(found) == 1 else np.concatenate([found[0], found[1].reshape(len(found[0]), -1)], axis=1)


def _run(network: Network, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
    try:
        return network(images_NSSC)
    except BundleError:
        raise
    except Exception as error:  # runtimes have no common error
        raise BundleError(f"the graph does not run: {error}", hint="make the bundle again with `sortal train`") from error
