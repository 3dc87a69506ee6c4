"""A linear head that is solved for, not trained step by step: its loss has one minimum, and L-BFGS walks straight to it.

All training images and all their stored views count in every step, so no rate, batch or order has to be chosen. The method is
that of Liu and Nocedal (1989), "On the limited memory BFGS method for large scale optimization", as torch implements it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sortal.data.samples import Features, HeldFeatures, Samples
from sortal.engines.protocol import Batch
from sortal.engines.torch.device import failures_explained
from sortal.engines.torch.tasks import TASKS
from sortal.recipe import Recipe

ITERATIONS = 40  # an epoch; for EfficientNet-Lite0's features of 244 photographs one epoch is enough
MEMORY = 20  # steps from which the curvature is estimated
ENOUGH = 1e-6  # largest gradient at which the minimum is reached
BYTES_AT_ONCE = 256 << 20  # of features, so that memory does not grow with the images

Part = tuple[Tensor, Tensor, float]
"""Features (B, D), their targets, and their share of all."""


class SolvedHead:
    """Solves for `head` on stored features; an epoch is one step, which goes on from the weights where the last one ended.

    Weights are all there is to save: what L-BFGS knows of the curvature begins anew with each epoch, so that a training that is
    resumed takes the same way as one that was not interrupted.
    """

    def __init__(self, recipe: Recipe, samples: Samples, features: Features, head: nn.Module, device: torch.device) -> None:
        self.recipe = recipe
        self.samples = samples
        self.features = features
        self.head = head.to(device)
        self.device = device
        self.rows_M = samples.splits["train"]
        self.loss = TASKS[recipe.task].make_loss(recipe.loss, samples.labels_N[self.rows_M], len(samples.classes), device)
        decay_all = recipe.optimizer.decay_all
        self.decayed = [parameter for parameter in self.head.parameters() if parameter.ndim > 1 or decay_all]
        # What has room in memory once has room for a copy in the order in which it is used.
        self._held = list(self._read()) if isinstance(features, HeldFeatures) else None

    @property
    def steps(self) -> int:
        return 1

    @property
    def micro_batch(self) -> int:
        return self.recipe.micro_batch

    def halve(self) -> bool:
        return False  # what is held at once does not depend on a batch

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        if start == 0:
            yield Batch(self.rows_M, epoch, epoch)

    def train_step(self, batch: Batch, rate: float, progress: float) -> Tensor:
        self.head.train()
        optimizer = torch.optim.LBFGS(
            self.head.parameters(),
            max_iter=ITERATIONS,
            history_size=MEMORY,
            tolerance_grad=ENOUGH,
            line_search_fn="strong_wolfe",
        )

        loss_of_images = torch.zeros((), device=self.device)

        def closure() -> Tensor:
            nonlocal loss_of_images
            optimizer.zero_grad()
            total = torch.zeros((), device=self.device)
            for features, targets, share in self._parts():
                loss = self.loss(self.head(features), targets) * share
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
            loss_of_images = total.clone()
            decay = self.recipe.optimizer.weight_decay
            if decay:
                penalty = decay / 2 * torch.stack([parameter.square().sum() for parameter in self.decayed]).sum()
                penalty.backward()  # type: ignore[no-untyped-call]
                total += penalty.detach()
            return total

        with failures_explained():
            optimizer.step(closure)  # type: ignore[no-untyped-call]
            closure()  # where it ended: the loss that is told is that of the weights that are kept
        return loss_of_images

    def _parts(self) -> Iterator[Part]:
        return iter(self._held) if self._held is not None else self._read()

    def _read(self) -> Iterator[Part]:
        """Features of the plain view and of every augmented one, a bounded number at once."""
        size = max(1, BYTES_AT_ONCE // (4 * int(np.prod(self.features.shape))))
        views = self.features.count
        for low in range(0, len(self.rows_M), size):
            rows_B = self.rows_M[low : low + size]
            share = len(rows_B) / (len(self.rows_M) * (views + 1))
            targets = torch.from_numpy(self.samples.labels_N[rows_B]).to(self.device)
            yield self._tensor(self.features.plain(rows_B)), targets, share
            for view in range(views):
                yield self._tensor(self.features.views(rows_B, np.full(len(rows_B), view))), targets, share

    def _tensor(self, features_BD: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(features_BD).to(self.device)

    def predict(self, split: str) -> NDArray[np.float32]:
        self.head.eval()
        rows_N = self.samples.splits[split]
        with torch.inference_mode():
            result: NDArray[np.float32] = self.head(self._tensor(self.features.plain(rows_N))).cpu().numpy()
        return result

    def state(self) -> dict[str, NDArray[Any]]:
        return {f"model/{name}": array for name, array in self.weights().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.head.load_state_dict(
            {name.removeprefix("model/"): torch.from_numpy(np.array(array)) for name, array in state.items()}
        )

    def weights(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.head.state_dict().items()}
