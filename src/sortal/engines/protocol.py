"""What an engine must be able to do. Arrays cross this seam, tensors never do, and no caller asks which engine it has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from sortal.data.samples import Samples
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Batch:
    """Which rows of the samples make one step, and where in the training that step is."""

    rows_B: NDArray[np.int64]
    epoch: int
    step: int
    """Steps since the training began; with the seed it determines all randomness inside the step."""


class Session(Protocol):
    """One model being trained."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from the `start`-th on; the same whatever ran before."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def train_step(self, batch: Batch, rate: float, progress: float) -> SupportsFloat:
        """One optimiser step; `rate` multiplies the learning rate, `progress` is the share of the training done before it.

        The mean loss may stay on the device until it is converted to a float.
        """

    def predict(self, split: str) -> NDArray[np.float32]:
        """Logits of the rows of a split, shape (N, K), from the weights that would be shipped (averaged, if they are)."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Weights, optimiser, averages: all that a resume needs."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a `state`."""

    def weights(self) -> Mapping[str, NDArray[Any]]:
        """The weights that would be shipped, by name."""


class Frozen(Protocol):
    """The frozen part of a network, with its own augmented views of the training images."""

    key: str
    """Identifies weights, preprocessing and runtime: equal keys give equal outputs."""
    dimensions: int

    def outputs(self, pixels_NRRC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of the evaluation view of stored pixels, shape (N, D)."""

    def view(self, pixels_NRRC: NDArray[np.uint8], keys_N: NDArray[np.uint64], view: int) -> NDArray[np.float32]:
        """Features of one augmented view, shape (N, D); the draw depends on recipe seed, key and number of the view alone."""


class Predictor(Protocol):
    """Images in, probabilities out."""

    def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of shape (N, K) for preprocessed uint8 images."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan may know about where it runs."""

    cores: int
    memory: int
    """Bytes."""
    accelerator: str
    """'cuda', 'mps' or '' for none."""
    name: str


class Engine(Protocol):
    """Turns recipes into sessions and sessions into bundles."""

    def machine(self) -> Machine:
        """What a plan may know."""

    def preprocess(self, recipe: Recipe, samples: "Mapping[str, Any]") -> Preprocess:
        """How images reach this recipe's network."""

    def measured(self, recipe: Recipe, preprocess: Preprocess, classes: int) -> tuple[Recipe, list[tuple[str, str, str]]]:
        """The recipe with precision, layout and runtime chosen by measuring, and (key, value, reason) of each choice."""

    def open(self, recipe: Recipe, preprocess: Preprocess, samples: Samples) -> Session:
        """A model ready to be trained on the samples."""

    def frozen(self, recipe: Recipe, preprocess: Preprocess) -> Frozen:
        """The frozen part of the recipe's network, in the runtime that the recipe names."""

    def export_onnx(
        self, recipe: Recipe, preprocess: Preprocess, weights: Mapping[str, NDArray[Any]], classes: tuple[str, ...], temperature: float
    ) -> bytes:
        """An ONNX graph from uint8 images to calibrated probabilities."""

    def probabilities(
        self, recipe: Recipe, preprocess: Preprocess, weights: Mapping[str, NDArray[Any]], classes: tuple[str, ...], temperature: float
    ) -> Predictor:
        """The same computation in the framework itself, in float32; what an export is compared with."""

    def sample_views(self, recipe: Recipe, preprocess: Preprocess, samples: Samples, rows_N: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Training inputs as the network sees them, as uint8 images of shape (N, S, S, C), mixed ones too."""


_ = Path
