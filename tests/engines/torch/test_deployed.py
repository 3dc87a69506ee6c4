"""A network as PyTorch deploys it computes what the bundle's graph does."""

import numpy as np
import pytest
import torch
from torch import nn

from sortal.engines.torch.network import Deployed
from sortal.evaluation.calibrators import Activation, Method, fitted


class Plain(nn.Sequential):
    """As much of a network as `Deployed` asks for."""

    def answers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self(x), x


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("method", ["none", "temperature", "vector", "isotonic"])
def test_the_deployed_network_calibrates_as_the_calibrator_does(method: Method, activation: Activation) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    network = Plain(nn.Flatten(), nn.Linear(12, 4))
    images = generator.integers(0, 256, (200, 2, 2, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        network[1].weight *= 8
        logits_NK = network(pixels).numpy()
    noisy_NK = logits_NK + generator.normal(size=logits_NK.shape) * 3
    labels = noisy_NK.argmax(axis=1) if activation == "softmax" else (noisy_NK > 0).astype(np.int64)
    calibrator = fitted(method, logits_NK, labels, activation)
    with torch.inference_mode():
        found_NK = Deployed(network, calibrator).eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found_NK, calibrator(logits_NK), atol=1e-5)
