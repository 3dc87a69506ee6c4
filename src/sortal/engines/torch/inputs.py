"""Where a session's batches come from: stored pixels that are augmented, or stored features that are looked up."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sortal.augment import draws
from sortal.augment.sampling import varied_keys
from sortal.data.ahead import ReadAhead
from sortal.data.samples import Features, Samples
from sortal.engines.torch.augment import augment, mix
from sortal.engines.torch.network import images_to_tensor
from sortal.engines.torch.uploads import Uploads
from sortal.preprocess import Preprocess
from sortal.recipe import Recipe

UPLOADED_AT_ONCE = 4096
"""Images; bounds the memory that the way to the device takes."""


class Inputs(Protocol):
    """Tensors for rows."""

    def training(
        self, rows_B: NDArray[np.int64], epoch: int, step: int, walks_B: NDArray[np.int64] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Varied inputs and their targets: class indices (B,), or shares of classes (B, K) where images were mixed; of several
        labels an image 0 and 1 of shape (B, K), or shares.

        `walks_B` is `Batch.walks_B`: an image that comes twice in an epoch is varied in two ways.
        """

    def plain(self, rows_B: NDArray[np.int64]) -> Tensor:
        """Inputs as in evaluation."""

    def expect(self, rows_B: NDArray[np.int64]) -> None:
        """`training` or `plain` will soon be asked for these rows."""

    def epoch_begins(self) -> None:
        """An epoch begins, and what the one before has shown about speed may be used."""


def draw_keys(samples: Samples, rows_B: NDArray[np.int64], walks_B: NDArray[np.int64] | None) -> NDArray[np.uint64]:
    """What the draws of these showings are keyed by: the images' own keys, told apart where an image comes again."""
    keys_B = samples.keys_N[rows_B]
    return keys_B if walks_B is None else varied_keys(keys_B, walks_B)


def room_for_images(device: torch.device) -> int:
    """Bytes of a device that images may take for as long as a session lasts: a quarter of what is free on an accelerator."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else 0


@dataclass(frozen=True)
class PixelInputs:
    """Stored pixels, augmented as whole batches on the device."""

    samples: Samples
    recipe: Recipe
    preprocess: Preprocess
    device: torch.device

    @cached_property
    def ahead(self) -> ReadAhead:
        """The samples' pixels, the next ones read while the network works."""
        return ReadAhead(self.samples.pixels)

    @cached_property
    def uploads(self) -> Uploads:
        return Uploads(self.device)

    def expect(self, rows_B: NDArray[np.int64]) -> None:
        if self.resident is None:
            self.ahead.expect(rows_B)

    def epoch_begins(self) -> None:
        self.ahead.epoch_begins()

    def training(
        self, rows_B: NDArray[np.int64], epoch: int, step: int, walks_B: NDArray[np.int64] | None = None
    ) -> tuple[Tensor, Tensor]:
        spec, seed = self.recipe.augment, self.recipe.seed
        keys_B = draw_keys(self.samples, rows_B, walks_B)
        images = augment(
            self.stored(rows_B),
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
        low, size = (self.preprocess.resize - self.preprocess.size) // 2, self.preprocess.size
        pixels = self.stored(rows_B)[:, low : low + size, low : low + size]
        return images_to_tensor(pixels, channels_last=self.channels_last)

    def stored(self, rows_B: NDArray[np.int64]) -> Tensor:
        """Stored pixels on the device, uint8 (B, R, R, C)."""
        if self.resident is None:
            return self.uploads(self.ahead.read(rows_B))
        return self.resident.index_select(0, torch.from_numpy(rows_B).to(self.device))

    @cached_property
    def resident(self) -> Tensor | None:
        """All pixels on an accelerator, once and for all, where they take no more than a share of its memory; else None: on the
        processor they are in the memory that it computes from already."""
        count, (side, channels) = len(self.samples.labels_N), (self.preprocess.resize, self.preprocess.channels)
        if count * side * side * channels > room_for_images(self.device):
            return None
        pixels = torch.empty((count, side, side, channels), dtype=torch.uint8, device=self.device)
        asked = np.unique(np.concatenate(list(self.samples.splits.values())))
        for start in range(0, len(asked), UPLOADED_AT_ONCE):
            rows = asked[start : start + UPLOADED_AT_ONCE]
            pixels[torch.from_numpy(rows).to(self.device)] = torch.from_numpy(self.samples.pixels.read(rows)).to(self.device)
        return pixels

    @property
    def channels_last(self) -> bool:
        return self.recipe.layout == "channels_last"


@dataclass(frozen=True)
class FeatureInputs:
    """Stored outputs of the frozen part: each epoch takes another of an image's V augmented views or its plain one, and V + 1
    epochs take all."""

    samples: Samples
    features: Features
    recipe: Recipe
    device: torch.device

    def expect(self, rows_B: NDArray[np.int64]) -> None:
        """Features are looked up too quickly for it to be worth a thread."""

    def epoch_begins(self) -> None:
        """Nothing to choose."""

    def training(
        self, rows_B: NDArray[np.int64], epoch: int, step: int, walks_B: NDArray[np.int64] | None = None
    ) -> tuple[Tensor, Tensor]:
        views = self.features.count
        keys_B = draw_keys(self.samples, rows_B, walks_B)
        # The plain view is one of them: leaving it out cost half a point on classes of CIFAR-10 (96 to 300 images).
        choices = views + 1
        shift_B = (draws.uniform(self.recipe.seed, epoch // choices, keys_B, "view") * choices).astype(np.int64)
        view_B = (shift_B + epoch) % choices
        plain_B = view_B == views
        features_BD = np.empty((len(rows_B), *self.features.shape), np.float32)
        features_BD[~plain_B] = self.features.views(rows_B[~plain_B], view_B[~plain_B])
        features_BD[plain_B] = self.features.plain(rows_B[plain_B])
        labels = torch.from_numpy(self.samples.labels_N[rows_B])
        return self._tensor(features_BD), labels.to(self.device)

    def plain(self, rows_B: NDArray[np.int64]) -> Tensor:
        return self._tensor(self.features.plain(rows_B))

    def _tensor(self, features_BD: NDArray[np.float32]) -> Tensor:
        tensor = torch.from_numpy(features_BD).to(self.device)
        in_channels = self.recipe.layout == "channels_last" and tensor.ndim == 4
        return tensor.contiguous(memory_format=torch.channels_last) if in_channels else tensor
