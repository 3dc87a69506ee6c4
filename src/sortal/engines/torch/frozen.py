"""The frozen part of a network: its outputs for stored pixels, in whichever runtime the recipe names."""

import hashlib
import os
from collections.abc import Callable
from copy import deepcopy
from functools import cached_property

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from sortal.engines import openvino
from sortal.engines.onnx import OnnxGraph, chunk_size
from sortal.engines.torch import device as devices
from sortal.engines.torch.augment import augment
from sortal.engines.torch.export import to_onnx
from sortal.engines.torch.network import FrozenFromBytes, Network
from sortal.engines.torch.precision import autocast
from sortal.errors import ParityError
from sortal.preprocess import Preprocess, network_pixels
from sortal.recipe import Recipe

TOLERANCE = 1e-3
"""Largest difference between the features of a graph and of its module, as a share of the largest feature."""

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class TorchFrozen:
    """What comes before a network's cut, or its whole body, with its weights fixed. Images go through in chunks of one size,
    filled up where there are too few, so that the bits of an image's features do not depend on the images beside it."""

    def __init__(self, recipe: Recipe, preprocess: Preprocess, network: Network) -> None:
        self.recipe = recipe
        self.preprocess = preprocess
        self.network = network.eval()

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the output for one image, by trying one where it is no vector of features."""
        if self.network.cut is None:
            return (self.network.body.dimensions,)
        size, channels = self.preprocess.size, self.preprocess.channels
        with torch.inference_mode():
            return tuple(self.network.before_cut(torch.zeros(1, channels, size, size)).shape[1:])

    @cached_property
    def run(self) -> Run:
        """Made when the first features are asked for: where all are stored already, exporting would be a second wasted."""
        return self.made(self.recipe.runtime)

    def made(self, runtime: str) -> Run:
        """What computes the outputs in a runtime, by the recipe's word for it; ready for its first images."""
        return RUNTIMES[runtime](self)

    @cached_property
    def _module(self) -> FrozenFromBytes:
        return FrozenFromBytes(self.network)

    @cached_property
    def _graph(self) -> bytes:
        size, channels = self.preprocess.size, self.preprocess.channels
        return to_onnx(self._module, size=size, channels=channels, outputs=["features"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of one image that goes in: (S, S, C)."""
        return (self.preprocess.size, self.preprocess.size, self.preprocess.channels)

    def in_onnx(self) -> Run:
        """ONNX Runtime in float32 on all cores."""
        run = OnnxGraph(self._graph, threads=self.recipe.threads).padded
        self._require_equal(run)
        return run

    def graph(self) -> bytes:
        """As an ONNX graph, uint8 (N, S, S, C) in, float32 (N, *shape) out; raises `ParityError` where it differs."""
        self.in_onnx()
        return self._graph

    def in_openvino(self, *, precision: openvino.Precision = "float32") -> Run:
        """OpenVINO on all cores."""
        threads = self.recipe.threads or os.cpu_count() or 1
        run = openvino.OpenVinoGraph(self._graph, shape=self.image_shape, threads=threads, precision=precision)
        if precision == "float32":
            self._require_equal(run)
        return run

    def in_torch(self, *, precision: str = "float32") -> Run:
        """Eager torch, on the accelerator if there is one; works for whatever cannot be exported."""
        place = devices.device()
        # A copy, since moving a module moves the very weights that others hold.
        module = FrozenFromBytes(deepcopy(self.network)).eval().to(memory_format=torch.channels_last).to(place)

        def run(images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
            size = chunk_size(images_NSSC.shape[1:])
            parts = []
            for start in range(0, len(images_NSSC), size):
                chunk = images_NSSC[start : start + size]
                missing = size - len(chunk)
                full = np.concatenate([chunk, np.zeros((missing, *chunk.shape[1:]), np.uint8)]) if missing else chunk
                with devices.failures_explained(), torch.inference_mode(), autocast(precision, place):
                    features = module(torch.from_numpy(np.ascontiguousarray(full)).to(place))
                    parts.append(features[: len(chunk)].float().cpu().numpy())
            return np.concatenate(parts)

        return run

    def _require_equal(self, run: Run) -> None:
        """Raise `ParityError` if a graph's outputs differ from the module's: a head on them would fit another network."""
        images_NSSC = np.random.default_rng(0).integers(0, 256, (3, *self.image_shape), dtype=np.uint8)
        with torch.inference_mode():
            expected_ND = self._module(torch.from_numpy(images_NSSC)).numpy()
        difference = float(np.abs(run(images_NSSC) - expected_ND).max() / max(np.abs(expected_ND).max(), 1e-12))
        if not difference <= TOLERANCE:
            raise ParityError(
                f"the graph of the frozen network differs from the network: features by up to {difference:.2g} of the largest",
                hint="set runtime = 'torch', or take another model",
            )

    @cached_property
    def key(self) -> str:
        """Weights, architecture, cut, normalisation, runtime and version: what features depend on besides the pixels."""
        digest = hashlib.sha256()
        for name, tensor in self.network.body.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        recipe = self.recipe
        # A small stem can have the very weights of the default one; its stride is no weight.
        network = (self.preprocess, recipe.model, recipe.stem)
        runtime = (recipe.runtime, self._version(), torch.__version__)
        cut = () if self.network.cut is None else (self.network.cut.rest,)
        digest.update(repr((network, runtime, *cut)).encode())
        return digest.hexdigest()[:32]

    def _version(self) -> object:
        """What else than its word decides the last bits of a runtime's outputs."""
        if self.recipe.runtime.startswith("torch"):
            return self.recipe.threads, devices.device().type
        return openvino.version() if self.recipe.runtime.startswith("openvino") else onnxruntime.__version__

    def outputs(self, pixels_NRRC: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.run(network_pixels(pixels_NRRC, self.preprocess))

    def views(self, pixels_NRRC: NDArray[np.uint8], keys_N: NDArray[np.uint64]) -> NDArray[np.float32]:
        return np.stack([self.run(self._view(pixels_NRRC, keys_N, view)) for view in range(self.recipe.augment.views)], axis=1)

    def _view(self, pixels_NRRC: NDArray[np.uint8], keys_N: NDArray[np.uint64], view: int) -> NDArray[np.uint8]:
        images = augment(
            torch.from_numpy(np.ascontiguousarray(pixels_NRRC)),
            keys_N,
            spec=self.recipe.augment,
            size=self.preprocess.size,
            seed=self.recipe.seed,
            epoch=view,
            mean=self.preprocess.mean,
        )
        return to_bytes(images)


RUNTIMES: dict[str, Callable[[TorchFrozen], Run]] = {
    "onnx": TorchFrozen.in_onnx,
    "openvino": TorchFrozen.in_openvino,
    "openvino_bf16": lambda frozen: frozen.in_openvino(precision="bf16"),
    "torch": TorchFrozen.in_torch,
    "torch_bf16": lambda frozen: frozen.in_torch(precision="bf16"),
}
"""What computes the outputs, by the words of the recipe's `runtime`."""


def to_bytes(images_NCSS: torch.Tensor) -> NDArray[np.uint8]:
    """Images in 0..1 as uint8 (N, S, S, C), rounded to the nearest."""
    scaled = (images_NCSS.permute(0, 2, 3, 1) * 255).round_().clamp_(0, 255).to(torch.uint8)
    return scaled.contiguous().cpu().numpy()
