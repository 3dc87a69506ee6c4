"""Compiling a network for training: fused kernels, and on an accelerator CUDA graphs, which replay a step without Python."""

import torch
from torch import nn

KINDS = 64
"""Shapes and phases of a training that are compiled for: two sizes of batch, the sides of growing images, what is thawed."""


def compiled(model: nn.Module, device: torch.device, *, deterministic: bool) -> nn.Module:
    """The same network, weights and all, that is compiled when it is first called with inputs of a shape.

    With `deterministic`, no kernel is chosen by timing it, since another choice after a resume would round otherwise.
    """
    torch._dynamo.config.recompile_limit = KINDS
    torch._inductor.config.deterministic = deterministic
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    result: nn.Module = torch.compile(model, mode=mode, dynamic=False)  # type: ignore[assignment]
    return result


def step_begins(device: torch.device) -> None:
    """What CUDA graphs gave in the step before may be overwritten: no gradient of it is left."""
    if device.type == "cuda":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
