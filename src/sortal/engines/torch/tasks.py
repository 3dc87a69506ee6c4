"""Tasks in torch: how logits become probabilities and what is minimised, looked up once by the recipe's word."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sortal.engines.torch.losses import make_label_loss, make_loss
from sortal.recipe import Loss

MakeLoss = Callable[[Loss, NDArray[np.int64], int, torch.device], Callable[[Tensor, Tensor], Tensor]]


@dataclass(frozen=True, slots=True)
class TorchTask:
    """`probabilities` of logits (N, K), and `make_loss` of the recipe's loss, the training labels, K and the device."""

    probabilities: Callable[[Tensor], Tensor]
    make_loss: MakeLoss


MULTI_CLASS = TorchTask(lambda logits: torch.softmax(logits, dim=1), make_loss)
MULTI_LABEL = TorchTask(torch.sigmoid, make_label_loss)
TASKS = {"auto": MULTI_CLASS, "multi_class": MULTI_CLASS, "multi_label": MULTI_LABEL}
"""'auto' stands in recipes that no images have settled."""
