"""What an engine must be able to do. Arrays cross this seam, tensors never do, and no caller asks which engine it has."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from sortal.bundle import Bundle
from sortal.data.samples import Samples
from sortal.plan import Machine
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Which rows of the samples make one step, and where in the training that step is."""

    rows_B: NDArray[np.int64]
    epoch: int
    step: int
    """Steps since the training began; with the seed it determines all randomness inside the step."""
    walks_B: NDArray[np.int64] | None = None
    """Tells the showings of an image in one epoch apart (`augment.sampling`); None where each comes once."""


class Session(Protocol):
    """One model being trained."""

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """What goes into each step of one epoch, from the `start`-th on; the same whatever ran before."""

    def train_step(self, batch: Batch, rate: float, progress: float) -> SupportsFloat:
        """One optimiser step; `rate` multiplies the learning rate, `progress` is the share of the training done before it.

        The mean loss may stay on the device until it is converted to a float. Raises `OutOfMemory` with everything as it was
        before the step.
        """

    @property
    def micro_batch(self) -> int:
        """Images that go through the network at once in training; 0 is the whole batch."""

    def halve(self) -> bool:
        """Let half as many go through at once from now on, with the same gradients in sum; False where there is no half."""

    def predict(self, split: str) -> NDArray[np.float32]:
        """Logits of the rows of a split, shape (N, K), from the weights that would be shipped (averaged, if they are)."""

    def state(self) -> Arrays:
        """Weights, optimiser, averages, `micro_batch`: copies of all that a resume needs."""

    def restore(self, state: Arrays) -> None:
        """Continue from a `state`."""

    def weights(self) -> Arrays:
        """Copies of the trained weights that would be shipped; what stayed frozen is not among them."""


class Frozen(Protocol):
    """The frozen part of a network. What it gives for an image does not depend on the images beside it, to the last bit."""

    @property
    def key(self) -> str:
        """Identifies weights, normalisation, runtime and machine: equal keys give equal outputs."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output for one image: (D,) for a vector of features, more axes where a part in the middle is thawed."""

    def outputs(self, pixels_NRRC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Outputs for the evaluation view of stored pixels, shape (N, *shape)."""

    def views(self, pixels_NRRC: NDArray[np.uint8], keys_N: NDArray[np.uint64]) -> NDArray[np.float32]:
        """Outputs for the recipe's augmented views, shape (N, V, *shape); draws depend on seed, key and number of the view."""

    def graph(self) -> bytes:
        """The part as an ONNX graph that was compared with it: uint8 (N, S, S, C) in, float32 (N, *shape) out."""


class Assembled(Protocol):
    """A trained network put together again, in float32, from images to logits; `engines.graphs` makes of its graph what is
    deployed.
    """

    def tensors(self) -> Arrays:
        """All weights by name, those of the frozen part too."""

    def logits(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits of shape (N, K), computed by the framework; what an export is compared with."""

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes what the network takes."""

    @property
    def graph(self) -> bytes:
        """The same computation as an ONNX graph: uint8 `images` (N, S, S, C) in, float32 `logits` (N, K) and `features` (N, D),
        what the head takes, out.
        """


Trained = Bundle | Assembled
"""A trained network: one that is shipped, or one that was put together again, as the models of the folds are."""


class Attributor(Protocol):
    """What a trained network looked at."""

    def __call__(self, images_NSSC: NDArray[np.uint8], labels_N: NDArray[np.int64]) -> NDArray[np.float32]:
        """How much each place of preprocessed images spoke for the label of that index: zero or more, shape (N, h, w)."""


class Embedder(Protocol):
    """What a trained network makes of images before it names them."""

    def __call__(self, images_NSSC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of preprocessed images, shape (N, D)."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a network wants to be fed, as far as its weights or its architecture say."""

    size: int
    resize: int
    """Shorter side before the centre crop that the weights were evaluated with."""
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, ...] | None
    """None where there are no pretrained weights: to be measured on the training split."""
    std: tuple[float, ...] | None
    trained: int = 0
    """Pixels on each side of the images that the weights were trained on; 0 without weights."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many weights a network has."""

    total: int
    trainable: int
    """Of those, how many learn at some time of the training."""
    told: str
    """Which ones, and from when on."""


class Engine(Protocol):
    """Turns recipes into sessions and trained weights into graphs."""

    def machine(self) -> Machine:
        """What a plan may know."""

    def expects(self, recipe: Recipe) -> Input:
        """What the recipe's network wants; raises `UnknownName` for a model that does not exist."""

    def pinned(self, recipe: Recipe) -> Recipe:
        """The recipe with the SHA-256 of the file that its weights come from, if they come from one; raises `WeightsError`."""

    def measured(self, recipe: Recipe, preprocess: Preprocess, classes: int, *, images: int) -> tuple[Recipe, dict[str, str]]:
        """The recipe with every 'auto' replaced by what measured fastest here for so many training images, and the reason of
        each by its key.
        """

    def frozen(self, recipe: Recipe, preprocess: Preprocess) -> Frozen:
        """The part of the recipe's network that stays frozen, in the runtime that the recipe names.

        Raises `NotSupported` where it does not begin at the images or cannot be cut off from the rest.
        """

    def parameters(self, recipe: Recipe, preprocess: Preprocess, classes: int) -> Parameters:
        """What the recipe trains; raises `RecipeError` or `UnknownName` where it thaws what the network does not have."""

    def open(self, recipe: Recipe, preprocess: Preprocess, samples: Samples) -> Session:
        """A model ready to be trained on the split 'train' of the samples: on their features, if they have some."""

    def assemble(self, recipe: Recipe, preprocess: Preprocess, classes: int, weights: Arrays) -> Assembled:
        """The network with these trained weights, and with its pretrained ones where it stayed frozen."""

    def training_views(
        self, recipe: Recipe, preprocess: Preprocess, samples: Samples, rows_N: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Training inputs as the network sees them, mixed ones too: uint8 (N, S, S, C)."""

    def training_targets(
        self, recipe: Recipe, preprocess: Preprocess, samples: Samples, rows_N: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """What `training_views` of the same rows are told to be: shares of classes, float32 (N, K)."""

    def attributions(self, bundle: Bundle) -> tuple[str, ...]:
        """The methods of `attribute` that work for the bundle's network, the best for its architecture first."""

    def attribute(self, trained: Trained, method: str) -> Attributor:
        """Maps of what the network looked at; raises `NotSupported` for a method that it has no parts for."""

    def embed(self, trained: Trained) -> Embedder:
        """Features by the network."""

    def export(self, bundle: Bundle, target: Path, kind: str, about: str) -> None:
        """Write the bundle's network, from bytes of images to probabilities, as `kind` to the file or folder `target`.

        `about` goes into its metadata where the format has some. Raises `NotSupported` for a kind, or a network, that this
        framework cannot write, and `MissingExtra` where a converter is not installed.
        """

    def exported(self, target: Path, kind: str) -> Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]:
        """What `export` wrote, opened by its own loader: uint8 (N, S, S, C) to probabilities, float32 (N, K), and behind them
        novelty, (N,), where the bundle measures it.
        """

    def licence(self, recipe: Recipe) -> str:
        """What is known of the licence of the weights that the recipe starts from; '' where it starts from none."""
