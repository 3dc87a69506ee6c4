"""Depthwise convolutions whose gradients are computed another way, and are the same gradients."""

import pytest
import torch
from torch.nn import functional

from sortal.engines.torch.depthwise import QuickDepthwise
from sortal.engines.torch.precision import learning

FORMS = [(6, 13, 3, 2, 1), (6, 12, 3, 2, 0), (6, 15, 5, 2, 2), (4, 9, 5, 1, 2), (4, 9, 3, 1, 1), (4, 11, 7, 3, 3)]
CPU = torch.device("cpu")


def gradients(channels: int, side: int, kernel: int, stride: int, padding: int, *, quick: bool) -> list[torch.Tensor]:
    """Output and gradients of input, kernel and bias under bf16; all numbers are small and whole, so that none is rounded."""
    generator = torch.Generator().manual_seed(0)

    def whole(*shape: int) -> torch.Tensor:
        return torch.randint(-2, 3, shape, generator=generator).float().requires_grad_()

    x, weight, bias = whole(2, channels, side, side), whole(channels, 1, kernel, kernel), whole(channels)
    with torch.autocast("cpu", dtype=torch.bfloat16), QuickDepthwise() if quick else torch.enable_grad():
        y = functional.conv2d(x, weight, bias, stride=stride, padding=padding, groups=channels)
    back = torch.randint(-1, 2, y.shape, generator=generator).to(y.dtype)
    return [y, *torch.autograd.grad(y, [x, weight, bias], back)]


@pytest.mark.parametrize("form", FORMS)
def test_output_and_gradients_are_those_of_torch(form: tuple[int, int, int, int, int]) -> None:
    for ours, theirs in zip(gradients(*form, quick=True), gradients(*form, quick=False), strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=0.5)


@pytest.mark.parametrize("form", FORMS)
def test_they_went_the_other_way(form: tuple[int, int, int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    from sortal.engines.torch import depthwise

    called = []
    monkeypatch.setattr(depthwise, "_of_input", lambda gradient, x, *rest: called.append(form) or torch.zeros_like(x))
    gradients(*form, quick=True)
    assert called == [form]


@pytest.mark.parametrize(
    "form",
    [{"groups": 1}, {"groups": 2}, {"groups": 4, "dilation": 2}, {"groups": 4, "padding": "same"}, {"groups": 4, "padding": 3}],
)
def test_other_convolutions_stay_torch_s(form: dict[str, int | str], monkeypatch: pytest.MonkeyPatch) -> None:
    from sortal.engines.torch import depthwise

    monkeypatch.setattr(depthwise._Depthwise, "apply", lambda *_: pytest.fail("not one of ours"))
    weight = torch.rand(4, 4 // int(form["groups"]), 3, 3, requires_grad=True)
    with learning("bf16", CPU):
        functional.conv2d(torch.rand(2, 4, 9, 9), weight, **form)  # type: ignore[arg-type]


def test_what_is_frozen_gets_no_gradient() -> None:
    x, weight = torch.rand(2, 4, 9, 9), torch.rand(4, 1, 5, 5, requires_grad=True)
    with learning("bf16", CPU):
        y = functional.conv2d(x, weight, groups=4)
    y.float().sum().backward()
    assert x.grad is None
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
