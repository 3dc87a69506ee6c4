"""Reduced precision in training: what a network computes in, and the scale that keeps small fp16 gradients from vanishing."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sortal.engines.torch.depthwise import QuickDepthwise

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Where a network computes in the recipe's precision; for 'float32' as it is."""
    return torch.autocast(device.type, dtype=DTYPES.get(precision), enabled=precision in DTYPES)


@contextlib.contextmanager
def learning(precision: str, device: torch.device) -> Iterator[None]:
    """Likewise where gradients will be asked for: some of torch's own are slow in bf16."""
    with autocast(precision, device), QuickDepthwise() if device.type == "cpu" else contextlib.nullcontext():
        yield


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Scales the loss: more from time to time, less where gradients overflow. bf16 has float32's range and needs none."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def scaler_arrays(scaler: torch.amp.GradScaler) -> dict[str, NDArray[Any]]:
    """What changes in a loss scaler."""
    if not scaler.is_enabled():
        return {}
    state = scaler.state_dict()
    return {"scale": np.array(state["scale"]), "since_overflow": np.array(state["_growth_tracker"])}


def restore_scaler(scaler: torch.amp.GradScaler, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put back what `scaler_arrays` gave."""
    if arrays:
        found = {"scale": float(arrays["scale"]), "_growth_tracker": int(arrays["since_overflow"])}
        scaler.load_state_dict(scaler.state_dict() | found)
