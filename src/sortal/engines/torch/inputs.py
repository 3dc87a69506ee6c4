"""Where a session's batches come from: stored pixels that are augmented, or stored features that are looked up."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sortal.augment import draws
from sortal.data.samples import Features, Samples
from sortal.engines.torch.augment import augment, mix
from sortal.engines.torch.network import images_to_tensor
from sortal.preprocess import Preprocess, network_pixels
from sortal.recipe import Recipe


class Inputs(Protocol):
    """Tensors for rows."""

    def training(self, rows_B: NDArray[np.int64], epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Varied inputs and their targets: class indices (B,), or shares of classes (B, K) where images were mixed; of several
        labels an image 0 and 1 of shape (B, K), or shares.
        """

    def plain(self, rows_B: NDArray[np.int64]) -> Tensor:
        """Inputs as in evaluation."""


@dataclass(frozen=True)
class PixelInputs:
    """Stored pixels, augmented as whole batches on the device."""

    samples: Samples
    recipe: Recipe
    preprocess: Preprocess
    device: torch.device

    def training(self, rows_B: NDArray[np.int64], epoch: int, step: int) -> tuple[Tensor, Tensor]:
        spec, seed = self.recipe.augment, self.recipe.seed
        keys_B = self.samples.keys_N[rows_B]
        pixels = torch.from_numpy(self.samples.pixels.read(rows_B)).to(self.device)
        images = augment(
            pixels,
            keys_B,
            spec=spec,
            size=self.preprocess.size,
            seed=seed,
            epoch=epoch,
            mean=self.preprocess.mean,
            channels_last=self.channels_last,
        )
        labels = torch.from_numpy(self.samples.labels_N[rows_B]).to(self.device)
        if not (spec.mixup or spec.cutmix):
            return images, labels
        return mix(images, labels, len(self.samples.classes), spec=spec, seed=seed, epoch=epoch, keys_N=keys_B, step=step)

    def plain(self, rows_B: NDArray[np.int64]) -> Tensor:
        pixels = network_pixels(self.samples.pixels.read(rows_B), self.preprocess)
        return images_to_tensor(torch.from_numpy(pixels).to(self.device), channels_last=self.channels_last)

    @property
    def channels_last(self) -> bool:
        return self.recipe.layout == "channels_last"


@dataclass(frozen=True)
class FeatureInputs:
    """Stored features: each epoch takes another of an image's V augmented views or its plain one, and V + 1 epochs take all."""

    samples: Samples
    features: Features
    recipe: Recipe
    device: torch.device

    def training(self, rows_B: NDArray[np.int64], epoch: int, step: int) -> tuple[Tensor, Tensor]:
        views = self.features.views_MVD.shape[1]
        keys_B = self.samples.keys_N[rows_B]
        # The plain view is one of them: leaving it out cost half a point on classes of CIFAR-10 (96 to 300 images).
        choices = views + 1
        shift_B = (draws.uniform(self.recipe.seed, epoch // choices, keys_B, "view") * choices).astype(np.int64)
        view_B = (shift_B + epoch) % choices
        plain_B = view_B == views
        features_BD = self.features.views_MVD[self.features.view_rows_N[rows_B], np.where(plain_B, 0, view_B)]
        features_BD[plain_B] = self.features.plain_ND[rows_B[plain_B]]
        labels = torch.from_numpy(self.samples.labels_N[rows_B])
        return torch.from_numpy(features_BD).to(self.device), labels.to(self.device)

    def plain(self, rows_B: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.features.plain_ND[rows_B]).to(self.device)
