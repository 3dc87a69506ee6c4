"""A graph from a stranger is read as bytes before any runtime is given it: what ours never hold is refused by name.

A bundle's SHA-256 says that nobody changed it since it was written, not that whoever wrote it meant well. So the graph's
protocol buffer (onnx.proto3) is walked here, by its wire format alone: it must be whole, refer to no other file, use no
operator of a library that would have to be loaded, loop over nothing, name no size that no image classifier has, and let no
size depend on what an image shows. Sizes that it computes are the runtime's to limit (`engines.onnx`): since they follow from
the number of images alone, a graph that has run once within the limit keeps to it.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sortal.errors import BundleError
from sortal.preprocess import Preprocess

HINT = "use what `sortal train` or `sortal export` wrote"
DOMAINS = {"", "ai.onnx"}
# What may run for ever, choose what runs, hold code of its own, give another answer each time, or be told how much to make
# though no classifier of ours has it.
REFUSED = {
    "Loop", "Scan", "If", "SequenceMap", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    "Multinomial", "Bernoulli", "StringNormalizer", "TfIdfVectorizer", "RegexFullMatch", "StringSplit", "StringConcat",
    "ImageDecoder", "Upsample", "CenterCropPad", "Col2Im", "AffineGrid", "MaxUnpool", "BlackmanWindow", "HannWindow",
    "HammingWindow", "MelWeightMatrix", "DFT", "STFT",
}  # fmt: skip
# Whose constant operands say how large the result is: the index of that operand, and whether the numbers multiply.
SIZED = {"ConstantOfShape": (0, True), "Expand": (1, True), "Tile": (1, True), "Resize": (3, True), "Pad": (1, False)}
TOLD = {
    "ConstantOfShape": (0,), "Expand": (1,), "Tile": (1,), "Resize": (1, 2, 3), "Pad": (1,), "Range": (0, 1, 2), "OneHot": (1,),
}  # fmt: skip
"""The operands that say how large the result is, whether they are constant or not."""
SHAPES = {"Shape", "Size"}
"""Operators whose result does not depend on what an image shows."""
LARGEST = 1 << 28
"""Elements that an operator may be told to make."""
LARGEST_SIZES = 4096
"""Bytes of a constant that can be a list of sizes; larger ones are weights and are passed over."""
OTHERS = {"logits", "novelty"}
"""Outputs that a graph may have behind its first."""
NOVELTY = "novelty"
"""The output that tells how unlike the familiar images one is."""
MOST_NODES = 20_000
"""Operators; a large vision transformer has 3,000."""
FLOAT, UINT8, INT32, INT64 = 1, 2, 6, 7


@dataclass(slots=True)
class Graph:
    """What is looked at of a graph."""

    nodes: list[tuple[str, str, list[str], list[str], dict[str, list[int]]]] = field(default_factory=list)
    """Operator, domain, inputs, outputs, attributes that hold numbers."""
    constants: dict[str, list[int]] = field(default_factory=dict)
    inputs: list[tuple[str, int, list[int]]] = field(default_factory=list)
    """Name, element type, sizes (-1 where a size is free)."""
    outputs: list[tuple[str, int, list[int]]] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)


def inspect(model: bytes, place: Path, preprocess: Preprocess) -> None:
    """Raise `BundleError` for a graph that no bundle or export of ours holds, or that takes other images than are prepared.

    `place` is where it was read, for the message.
    """
    try:
        graph = _model(memoryview(model))
    except (ValueError, IndexError, struct.error, OverflowError, RecursionError) as error:
        raise BundleError(f"{place} is no ONNX graph: {error}", hint=HINT) from error
    for operator, domain, inputs, _, attributes in graph.nodes:
        if domain not in DOMAINS or operator in REFUSED:
            raise BundleError(f"{place} uses the operator {domain[:50]}:{operator[:50]}", hint=HINT)
        if "graph" in attributes:
            raise BundleError(f"{place} holds a graph inside {operator[:50]}", hint=HINT)
        _check_sizes(place, graph, operator, inputs)
    _check_ends(place, graph, preprocess)
    shown = _shown(graph)
    for operator, _, inputs, _, _ in graph.nodes:
        if any(inputs[index] in shown for index in TOLD.get(operator, ()) if index < len(inputs)):
            raise BundleError(f"{place} has {operator} make as many numbers as an image says", hint=HINT)


def _shown(graph: Graph) -> set[str]:
    """The values that depend on what an image shows, and not on its size alone."""
    readers: dict[str, list[list[str]]] = {}
    for operator, _, inputs, outputs, _ in graph.nodes:
        for name in inputs if operator not in SHAPES else ():
            readers.setdefault(name, []).append(outputs)
    found: set[str] = set()
    waiting = [name for name, _, _ in graph.inputs if name not in graph.initializers]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            for outputs in readers.get(name, ()):
                waiting += outputs
    return found - {""}


def _check_sizes(place: Path, graph: Graph, operator: str, inputs: list[str]) -> None:
    if operator in SIZED:
        index, multiply = SIZED[operator]
        sizes = graph.constants.get(inputs[index], []) if len(inputs) > index else []
        total = math.prod(max(1, abs(size)) for size in sizes) if multiply else max(map(abs, sizes), default=0)
    elif operator == "Range" and len(inputs) == 3:
        start, stop, step = (graph.constants.get(name, [0])[:1] or [0] for name in inputs)
        total = abs(stop[0] - start[0]) // max(1, abs(step[0]))
    elif operator == "OneHot" and len(inputs) > 1:
        total = max(map(abs, graph.constants.get(inputs[1], [0])), default=0)
    else:
        return
    if total > LARGEST:
        raise BundleError(f"{place} has {operator} make {total:,} numbers", hint=HINT)


def _check_ends(place: Path, graph: Graph, preprocess: Preprocess) -> None:
    inputs = [each for each in graph.inputs if each[0] not in graph.initializers]
    expected = [preprocess.size, preprocess.size, preprocess.channels]
    if len(inputs) != 1 or inputs[0][1] != UINT8 or len(inputs[0][2]) != 4 or inputs[0][2][1:] != expected:
        raise BundleError(f"{place} does not take images as they are prepared for it", hint=HINT)
    if inputs[0][2][0] != -1:
        raise BundleError(f"{place} takes only {inputs[0][2][0]} images at once", hint=HINT)
    names = [name for name, _, _ in graph.outputs]
    others = set(names[1:])
    if not names or not others <= OTHERS or len(names) != 1 + len(others) or {kind for _, kind, _ in graph.outputs} != {FLOAT}:
        raise BundleError(f"{place} does not give probabilities, and logits and novelty at most", hint=HINT)


def _model(data: memoryview) -> Graph:
    graph, found = Graph(), 0
    for number, wire, value in fields(data):
        if number == 7 and wire == 2:
            found += 1
            _graph(value, graph)
        elif number in (20, 25):
            raise ValueError("it holds training steps or functions of its own")
    if found != 1:
        raise ValueError("it holds no graph" if not found else "it holds several graphs")
    return graph


def _graph(data: memoryview, graph: Graph) -> None:
    for number, wire, value in fields(data):
        if wire != 2:
            continue
        if number == 1:
            graph.nodes.append(_node(value, graph))
            if len(graph.nodes) > MOST_NODES:
                raise ValueError(f"it has more than {MOST_NODES:,} operators")
        elif number == 5:
            name, numbers = _tensor(value)
            graph.initializers.add(name)
            if numbers:
                graph.constants[name] = numbers
        elif number == 11:
            graph.inputs.append(_value(value))
        elif number == 12:
            graph.outputs.append(_value(value))
        elif number == 15:
            raise ValueError("it holds sparse weights")


def _node(data: memoryview, graph: Graph) -> tuple[str, str, list[str], list[str], dict[str, list[int]]]:
    operator, domain, inputs, outputs = "", "", [], []
    attributes: dict[str, list[int]] = {}
    constant: list[int] = []
    for number, wire, value in fields(data):
        if wire != 2:
            continue
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 7:
            domain = _text(value)
        elif number == 5:
            for inner, inner_wire, part in fields(value):
                if inner in (6, 11) and inner_wire == 2:  # a graph, or several, as an attribute
                    attributes["graph"] = []
                elif inner in (5, 10) and inner_wire == 2:  # a tensor, or several
                    constant = _tensor(part)[1] or constant
                elif inner in (22, 23):
                    raise ValueError("it holds sparse weights")
    if operator == "Constant" and outputs and constant:
        graph.constants[outputs[0]] = constant
    return operator, domain, inputs, outputs, attributes


def _tensor(data: memoryview) -> tuple[str, list[int]]:
    """A tensor's name, and its whole numbers where it can be a list of sizes."""
    name, kind, raw = "", 0, memoryview(b"")
    dims: list[int] = []
    numbers: list[int] = []
    for number, wire, value in fields(data):
        if number == 13 or (number == 14 and value != 0):
            raise ValueError("its weights lie in another file")
        if number == 1 and len(dims) < 64 and (wire == 0 or len(value) <= LARGEST_SIZES):
            dims += _integers(wire, value)
        elif number == 2 and wire == 0:
            kind = int(value)
        elif number == 8 and wire == 2:
            name = _text(value)
        elif number == 9 and wire == 2:
            raw = value
        elif number in (5, 7) and (wire == 0 or len(value) <= LARGEST_SIZES):
            numbers += _integers(wire, value)
    if any(size < 0 for size in dims) or math.prod(dims) > 1 << 34:
        raise ValueError(f"a weight has the shape {dims[:8]}")
    if kind == INT64 and len(raw) <= LARGEST_SIZES and len(raw) % 8 == 0:
        numbers += struct.unpack(f"<{len(raw) // 8}q", raw)
    elif kind == INT32 and len(raw) <= LARGEST_SIZES and len(raw) % 4 == 0:
        numbers += struct.unpack(f"<{len(raw) // 4}i", raw)
    return name, numbers


def _value(data: memoryview) -> tuple[str, int, list[int]]:
    """An input's or output's name, element type and sizes."""
    name, kind, sizes = "", 0, []
    for number, wire, value in fields(data):
        if number == 1 and wire == 2:
            name = _text(value)
        elif number == 2 and wire == 2:
            for _, tensor_wire, tensor in (each for each in fields(value) if each[0] == 1):
                if tensor_wire != 2:
                    raise ValueError("an input has no type")
                for inner, inner_wire, part in fields(tensor):
                    if inner == 1 and inner_wire == 0:
                        kind = int(part)
                    elif inner == 2 and inner_wire == 2:
                        sizes = [_size(dimension) for number, _, dimension in fields(part) if number == 1]
    return name, kind, sizes


def _size(data: memoryview) -> int:
    return next((int(value) for number, wire, value in fields(data) if number == 1 and wire == 0), -1)


def _integers(wire: int, value: "memoryview | int") -> list[int]:
    """Whole numbers of a repeated field, packed or one by one, with their signs."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_signed(number))
    return found


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _text(value: "memoryview | int") -> str:
    if isinstance(value, int):
        raise ValueError("a number where a name belongs")
    return bytes(value[:1024]).decode("utf-8", "replace")


def fields(data: Any) -> Iterator[tuple[int, int, Any]]:
    """The fields of a message: number, wire type, value (a view of bytes, or a whole number)."""
    if isinstance(data, int):
        raise ValueError("a number where a message belongs")
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        value: memoryview | int
        if wire == 0:
            value, at = _varint(data, at)
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            value, at = data[at : at + width], at + width
        elif wire == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {wire}")
        if at > end or number == 0:
            raise ValueError("it ends in the middle of a field")
        yield number, wire, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if not byte & 128:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
