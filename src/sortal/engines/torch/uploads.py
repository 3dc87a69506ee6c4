"""The way to an accelerator for pixels that do not fit into it: pinned memory, a stream of its own, two batches at a time."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SLOTS = 2
"""Batches under way: one is copied while the network works on the other."""


new_event: Callable[[], torch.cuda.Event] = torch.cuda.Event


class Uploads:
    """Copies arrays to an accelerator beside its work; on a processor there is nothing to copy."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._turn = 0
        self._slots: list[Tensor | None] = [None] * SLOTS
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._done = [new_event() for _ in range(SLOTS)] if self._stream is not None else []

    def __call__(self, array: NDArray[np.uint8]) -> Tensor:
        """The array on the device, of the same shape; the caller's own work may begin with it at once."""
        source = torch.from_numpy(array)
        if self._stream is None:
            return source.to(self._device)
        slot, self._turn = self._turn, (self._turn + 1) % SLOTS
        self._done[slot].synchronize()  # the copy before the last one has left this slot
        pinned = self._slots[slot]
        if pinned is None or pinned.numel() < source.numel():
            pinned = self._slots[slot] = torch.empty(source.numel(), dtype=source.dtype, pin_memory=True)
        pinned = pinned[: source.numel()].view(source.shape)
        pinned.copy_(source)
        work = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            there = pinned.to(self._device, non_blocking=True)
            self._done[slot].record(self._stream)
        work.wait_stream(self._stream)
        there.record_stream(work)  # its memory is not given to others before the work on it is done
        return there
