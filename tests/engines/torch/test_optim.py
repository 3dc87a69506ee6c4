"""Muon's arithmetic, beside torch's own for one matrix at a time."""

import pytest
import torch
from torch import nn
from torch.optim._muon import _zeropower_via_newtonschulz, muon

from sortal.engines.torch.optim import QUINTIC, SMALLEST, STEPS, Muon, orthogonalised
from sortal.recipe import Optimizer

SHAPES = [(8, 27), (16, 72), (16, 72), (40, 12), (16, 72), (12, 40)]


def matrices(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_matrices_of_one_shape_go_together_and_come_out_as_each_does_alone() -> None:
    given = matrices()
    for found, matrix in zip(orthogonalised(given), given, strict=True):
        alone = _zeropower_via_newtonschulz(matrix, QUINTIC, STEPS, SMALLEST).float()
        assert found.shape == matrix.shape
        assert found.dtype == matrix.dtype
        assert (found - alone).norm() < 0.01 * alone.norm()


def test_singular_values_come_near_to_one_whatever_the_scale() -> None:
    for scale in (1e-3, 1.0, 1e3):
        (found,) = orthogonalised([scale * torch.eye(6, 10) + 0.2 * scale * torch.randn(6, 10)])
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.3
        assert values.max() < 1.4


def test_zeros_stay_zeros() -> None:
    (found,) = orthogonalised([torch.zeros(4, 6)])
    assert (found == 0).all()


@pytest.mark.parametrize("fixed_norm", [False, True])
def test_steps_are_those_of_torchs_muon(fixed_norm: bool) -> None:
    ours, theirs = ([nn.Parameter(matrix) for matrix in matrices()] for _ in range(2))
    head = nn.Parameter(torch.ones(3))
    spec = Optimizer(name="muon", momentum=0.6, fixed_norm=fixed_norm, weight_decay=0 if fixed_norm else 0.1)
    optimizer = Muon(
        [{"params": ours, "scale": 1.0, "weight_decay": spec.weight_decay, "matrices": True}],
        [{"params": [head], "scale": 1.0, "weight_decay": 0.0, "matrices": False}], spec, 0.05,
    )  # fmt: skip
    buffers = [torch.zeros_like(each) for each in theirs]
    for number in range(3):
        gradients = matrices(seed=number + 1)
        for parameter, gradient in zip(ours, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        with torch.no_grad():
            if fixed_norm:
                for each in theirs:
                    each.mul_(len(each) ** 0.5 / each.norm())
            muon(
                list(theirs), gradients, buffers, lr=0.05, weight_decay=spec.weight_decay, momentum=0.6, nesterov=True,
                ns_coefficients=QUINTIC, ns_steps=STEPS, eps=SMALLEST, adjust_lr_fn="original", has_complex=False,
            )  # fmt: skip
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0.02, atol=2e-3)
