"""Depthwise convolutions in bf16 on a processor, with gradients that take no longer than in float32.

torch computes two of them in ways that cost more than all the rest of a network. Measured on one core of an AMD EPYC with bf16
units, batches of 16: the gradient of the input of a 3x3 kernel with stride 2 (240 channels, 29 pixels) 50 ms in bf16 and 1 in
float32; the gradient of a 5x5 kernel (1,152 channels, 7 pixels) 35 ms in bf16 and 8 in float32. These two are computed in
float32 here, from the same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LARGE_KERNEL = 5
"""From this side on the gradient of a kernel is computed in float32."""


class QuickDepthwise(TorchFunctionMode):
    """While it is entered, depthwise convolutions of whatever network have quick gradients: on a processor, under autocast."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.conv2d and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu"):
            given = dict(zip(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args, strict=False))
            given |= kwargs or {}
            stride, padding = _pair(given.get("stride", 1)), _pair(given.get("padding", 0))
            if stride and padding and _depthwise(given, padding):
                result: Tensor = _Depthwise.apply(given["input"], given["weight"], stride, padding)
                bias = given.get("bias")
                return result if bias is None else result + bias.to(result.dtype).reshape(1, -1, 1, 1)
        return func(*args, **(kwargs or {}))


def _pair(value: Any) -> tuple[int, int] | None:
    """Both numbers of a stride or padding; None for one that is a word."""
    if isinstance(value, str):
        return None
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _depthwise(given: Mapping[str, Any], padding: tuple[int, int]) -> bool:
    """Whether each channel has one kernel of its own, in one of the forms that are computed here."""
    x, weight = given["input"], given["weight"]
    own = x.device.type == "cpu" and given.get("groups", 1) == weight.shape[0] == x.shape[1] > 1
    close = all(number == 1 for number in _pair(given.get("dilation", 1)) or (0,))
    return own and close and x.ndim == 4 and all(pad < side for pad, side in zip(padding, weight.shape[2:], strict=True))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        kept = x.dtype, weight.dtype
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.kept = stride, padding, kept
        with torch.autocast("cpu", enabled=False):
            return functional.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _of_input(gradient, x, weight, ctx.stride, ctx.padding).to(ctx.kept[0])
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(gradient, x, weight, ctx.stride, ctx.padding).to(ctx.kept[1])
        return of_x, of_weight, None, None


def _of_input(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    if max(stride) > 1:
        gradient, x, weight = gradient.float(), x.float(), weight.float()
    return _native(gradient, x, weight, stride, padding, (True, False, False))[0]


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    if max(weight.shape[2:]) >= LARGE_KERNEL:
        gradient, x, weight = gradient.float(), x.float(), weight.float()
    return _native(gradient, x, weight, stride, padding, (False, True, False))[1]


def _native(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], wanted: Sequence[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """torch's own gradients of input, weight and bias; of those that are not wanted nothing is computed."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return found
