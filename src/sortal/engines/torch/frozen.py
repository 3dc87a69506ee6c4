"""The frozen part of a network: features of stored pixels, in torch or in ONNX Runtime, whichever the recipe names."""

import hashlib
from collections.abc import Callable
from functools import cached_property

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from sortal.engines.onnx import OnnxGraph, chunk_size
from sortal.engines.torch.augment import augment
from sortal.engines.torch.export import to_onnx
from sortal.engines.torch.network import BodyFromBytes, Network
from sortal.preprocess import Preprocess, network_pixels
from sortal.recipe import Recipe

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class TorchFrozen:
    """Body of a network with its weights fixed. Images go through in chunks of one size, so that neighbours do not matter."""

    def __init__(self, recipe: Recipe, preprocess: Preprocess, network: Network) -> None:
        self.recipe = recipe
        self.preprocess = preprocess
        self.network = network.eval()
        self.dimensions = network.body.dimensions
        self.key = self._key()

    @cached_property
    def run(self) -> Run:
        """Made when the first features are asked for: where all are stored already, exporting would be a second wasted."""
        return {"onnx": self.in_onnx, "torch": self.in_torch}[self.recipe.runtime]()

    def in_onnx(self) -> Run:
        """ONNX Runtime in float32 on all cores."""
        size, channels = self.preprocess.size, self.preprocess.channels
        graph = to_onnx(BodyFromBytes(self.network), size=size, channels=channels, output="features")
        return OnnxGraph(graph, threads=self.recipe.threads).padded

    def in_torch(self) -> Run:
        """Eager torch in float32; the way that works for whatever cannot be exported."""
        module = BodyFromBytes(self.network).eval().to(memory_format=torch.channels_last)

        def run(images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
            size = chunk_size(images_NSSC.shape[1:])
            parts = []
            for start in range(0, len(images_NSSC), size):
                chunk = images_NSSC[start : start + size]
                missing = size - len(chunk)
                full = np.concatenate([chunk, np.zeros((missing, *chunk.shape[1:]), np.uint8)]) if missing else chunk
                with torch.inference_mode():
                    parts.append(module(torch.from_numpy(np.ascontiguousarray(full)))[: len(chunk)].numpy())
            return np.concatenate(parts)

        return run

    def _key(self) -> str:
        """Weights, architecture, normalisation, runtime and version: what features depend on besides the stored pixels."""
        digest = hashlib.sha256()
        for name, tensor in self.network.body.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        recipe = self.recipe
        # A small stem can have the very weights of the default one; its stride is no weight.
        network = (self.preprocess, recipe.model, recipe.stem)
        runtime = (recipe.runtime, recipe.threads if recipe.runtime == "torch" else onnxruntime.__version__, torch.__version__)
        digest.update(repr((network, runtime)).encode())
        return digest.hexdigest()[:32]

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


def to_bytes(images_NCSS: torch.Tensor) -> NDArray[np.uint8]:
    """Images in 0..1 as uint8 (N, S, S, C), rounded to the nearest."""
    scaled = (images_NCSS.permute(0, 2, 3, 1) * 255).round_().clamp_(0, 255).to(torch.uint8)
    return scaled.contiguous().cpu().numpy()
