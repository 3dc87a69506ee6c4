"""Batches in parts: how many images go through a network at once, whatever number makes one step of the optimiser."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

PREDICTED_AT_ONCE = 256  # images; bounds the memory of activations in evaluation


def even(total: int, limit: int, smallest: int) -> list[tuple[int, int]]:
    """Where the fewest parts of at most `limit` begin and end, all of a size but for one; no smaller than `smallest`.

    >>> even(9, 4, 1)
    [(0, 3), (3, 6), (6, 9)]
    >>> even(9, 2, 2)
    [(0, 3), (3, 5), (5, 7), (7, 9)]
    """
    count = max(1, min(-(-total // limit), total // smallest))
    longer = total % count
    ends = [number * (total // count) + min(number, longer) for number in range(count + 1)]
    return list(pairwise(ends))


class Room:
    """How many images memory has room for: found out by running out of it, and part of a training's state."""

    def __init__(self, model: nn.Module, batch_size: int, micro_batch: int) -> None:
        self.batch_size = batch_size
        self.micro_batch = micro_batch  # 0: whole batches
        self.predicted = PREDICTED_AT_ONCE
        # Batch norm in training has nothing to normalise a single image with.
        self.smallest = 2 if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()) else 1

    def parts(self, total: int) -> list[tuple[int, int]]:
        """Where the parts of a batch begin and end."""
        return even(total, self.micro_batch, self.smallest) if self.micro_batch else [(0, total)]

    def halve(self) -> bool:
        """Half as many in training from now on; False if there is no half."""
        now = self.micro_batch or self.batch_size
        half = -(-now // 2)
        if half < self.smallest or half == now:
            return False
        self.micro_batch = half
        return True

    def halve_predicted(self) -> bool:
        """The same in evaluation."""
        self.predicted //= 2
        return self.predicted > 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"micro_batch": np.array(self.micro_batch), "predicted": np.array(self.predicted)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.micro_batch = int(arrays.get("micro_batch", self.micro_batch))
        self.predicted = int(arrays.get("predicted", self.predicted))


class Buffers:
    """A network's buffers, batch norm's statistics above all, as they were before a step: to be put back if it fails."""

    def __init__(self, model: nn.Module) -> None:
        self.live = list(model.buffers())
        self.kept = [buffer.clone() for buffer in self.live]

    def keep(self) -> None:
        self._copy(self.kept, self.live)

    def put_back(self) -> None:
        self._copy(self.live, self.kept)

    def _copy(self, to: list[torch.Tensor], source: list[torch.Tensor]) -> None:
        if to:  # one call for all: 44 microseconds for the 159 buffers of a ResNet-50, a thousandth of its fastest step
            with torch.no_grad():
                torch._foreach_copy_(to, source)
