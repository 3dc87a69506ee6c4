"""A bundle's network as it answers: bytes of images in, calibrated probabilities out, and novelty where that is measured."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from sortal.engines.torch.network import Deployed
from sortal.errors import NotSupported

ADDED = "sortal."
"""Before the names of all that a bundle's graph has behind its network."""
NOVELTY, FEATURES = "novelty", "features"


@dataclass(frozen=True, slots=True)
class Step:
    """One step from features to novelty; constants among its inputs have names of buffers."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]
    whole: tuple[int, ...]
    """A number that says which or how many, and is no part of the arithmetic."""


class Answering(nn.Module):
    """uint8 images (N, S, S, C) to probabilities (N, K), and where the bundle measures novelty to its distances (N,) too.

    Which images are remembered stands in the bundle's graph alone; from there its steps are read, one by one.
    """

    def __init__(self, deployed: Deployed, graph: Path) -> None:
        super().__init__()
        self.deployed = deployed
        self.steps, constants = _to_novelty(graph)
        for name, tensor in constants.items():
            self.register_buffer(name, tensor)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        network = self.deployed.network
        logits, features = network.answers(images.permute(0, 3, 1, 2).to(torch.float32) / 255)
        probabilities = self.deployed.calibrated(logits)
        if not self.steps:
            return probabilities
        known = {FEATURES: features}
        for step in self.steps:
            values = [known[name] if name in known else getattr(self, name) for name in step.inputs]
            known[step.output] = STEPS[step.kind](values, step)
        return probabilities, known[NOVELTY]


def _largest(x: Tensor, count: int) -> Tensor:
    """The `count` largest of each row, the largest first, (N, count): one after the other, since LiteRT cannot sort."""
    places, found = torch.arange(x.shape[1]), []
    for _ in range(count):
        found.append(x.amax(dim=1, keepdim=True))
        x = torch.where(places == x.argmax(dim=1, keepdim=True), -torch.inf, x)
    return torch.cat(found, dim=1)


STEPS: dict[str, Callable[[list[Tensor], Step], Tensor]] = {
    "Sub": lambda values, _: values[0] - values[1],
    "Div": lambda values, _: values[0] / values[1],
    "Max": lambda values, _: torch.maximum(values[0], values[1]),
    "MatMul": lambda values, _: values[0] @ values[1],
    "ReduceL2": lambda values, step: values[0].square().sum(step.attributes["axes"], keepdim=True).sqrt(),
    "TopK": lambda values, step: _largest(values[0], step.whole[0]),
    "Gather": lambda values, step: values[0].select(step.attributes["axis"], step.whole[0]),
}


def _to_novelty(graph: Path) -> tuple[list[Step], dict[str, Tensor]]:
    """The steps of a bundle's graph from features to novelty, with their constants; none where it does not measure it."""
    model = onnx.load(graph)
    made_by = {output: node for node in model.graph.node for output in node.output}
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer if each.name.startswith(ADDED)}
    wanted, needed = [NOVELTY], set()
    while wanted:
        node = made_by.get(wanted.pop())
        if node is not None:
            needed.add(node.name)
            wanted.extend(name for name in node.input if name != FEATURES and name not in constants)
    nodes = [node for node in model.graph.node if node.name in needed]
    unknown = sorted({node.op_type for node in nodes} - set(STEPS))
    if unknown:
        raise NotSupported(f"novelty by {', '.join(unknown)} cannot be written in PyTorch", hint="take --to onnx")
    used = {name for node in nodes for name in node.input if name in constants}
    tensors = {_buffer(name): torch.from_numpy(constants[name].copy()) for name in sorted(used) if not _counts(constants, name)}
    return [_step(node, constants) for node in nodes], tensors


def _step(node: Any, constants: dict[str, Any]) -> Step:
    return Step(
        node.op_type,
        tuple(_buffer(name) for name in node.input if not _counts(constants, name)),
        _buffer(node.output[0]),
        {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute},
        tuple(int(each) for name in node.input if _counts(constants, name) for each in constants[name].reshape(-1)),
    )


def _counts(constants: dict[str, Any], name: str) -> bool:
    return name in constants and constants[name].dtype.kind == "i"


def _buffer(name: str) -> str:
    return name.replace(".", "_")
