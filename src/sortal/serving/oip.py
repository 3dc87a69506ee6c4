"""The Open Inference Protocol, version 2: tensors as JSON or, by its binary extension, as bytes behind the JSON.

https://github.com/kserve/open-inference-protocol and Triton's "Binary Tensor Data Extension". Here a tensor is a name, a
datatype, a shape and an array; nothing of HTTP, and nothing of models.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal.serving.bodies import from_base64, parsed
from sortal.serving.refused import Refused

HEADER_LENGTH = "inference-header-content-length"
DATATYPES = {
    "BOOL": np.dtype("?"), "UINT8": np.dtype("u1"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"), "FP32": np.dtype("<f4"),
}  # fmt: skip
"""Those that our inputs and outputs have, besides BYTES."""
IMAGES, PIXELS = "images", "pixels"
OUTPUTS = ("probabilities", "labels")
DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output. `values` is a flat list of bytes where the datatype is BYTES, else an array of the shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: "NDArray[Any] | list[bytes]"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that the client asked for."""

    name: str
    binary: bool = False
    classification: int = 0
    """If above zero: so many of the likeliest classes, as 'PROBABILITY:INDEX:LABEL'."""


@dataclass(frozen=True, slots=True)
class Question:
    """One inference request."""

    inputs: tuple[Tensor, ...]
    wanted: tuple[Wanted, ...]
    """Empty where the client did not say: then every output."""
    id: str | None = None
    binary: bool = False
    """Whether outputs that the client did not name are binary."""
    timeout: float | None = None
    """Seconds that the client will wait; in the protocol it is microseconds."""


def asked(body: bytes, header_length: str | None) -> Question:
    """The question in a body; raises `Refused` (400) for what is none."""
    binary = memoryview(b"")
    text = memoryview(body)
    if header_length is not None:
        # No body is so long that its length has more digits, and Python refuses to read thousands of them.
        if len(header_length) > 12 or not header_length.isdecimal() or int(header_length) > len(body):
            raise Refused(400, f"{HEADER_LENGTH} is no length within the body")
        text, binary = text[: int(header_length)], text[int(header_length) :]
    values = parsed(text)
    if not isinstance(values, dict) or not isinstance(values.get("inputs"), list) or not values["inputs"]:
        raise Refused(400, "the request has no list of inputs")
    inputs, at = [], 0
    for each in values["inputs"]:
        tensor, at = _input(each, binary, at)
        inputs.append(tensor)
    if at != len(binary):
        raise Refused(400, f"the inputs take {at} binary bytes, and {len(binary)} came")
    parameters = _parameters(values)
    outputs = values.get("outputs", [])
    if not isinstance(outputs, list):
        raise Refused(400, "outputs is no list")
    name = values.get("id")
    if name is not None and not isinstance(name, str):
        raise Refused(400, "id is no string")
    return Question(
        inputs=tuple(inputs),
        wanted=tuple(_wanted(each, parameters.get("binary_data_output") is True) for each in outputs),
        id=name,
        binary=parameters.get("binary_data_output") is True,
        timeout=_timeout(parameters.get("timeout")),
    )


def _input(about: Any, binary: memoryview, at: int) -> tuple[Tensor, int]:
    if not isinstance(about, dict):
        raise Refused(400, "an input is no object")
    name, datatype, shape = about.get("name"), about.get("datatype"), about.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str):
        raise Refused(400, "an input has no name or no datatype")
    shape = [_whole(size) for size in shape] if isinstance(shape, list) else None
    if shape is None or not all(0 <= size <= 1 << 31 for size in shape):
        raise Refused(400, f"the shape of {name[:50]!r} is no list of sizes")
    if datatype != "BYTES" and datatype not in DATATYPES:
        raise Refused(400, f"no input has the datatype {datatype[:50]!r}")
    count = math.prod(shape)
    parameters = _parameters(about)
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in about:
            raise Refused(400, f"the input {name[:50]!r} has no data")
        return Tensor(name, datatype, tuple(shape), _from_lists(name, datatype, shape, about["data"])), at
    if type(size) is not int or size < 0 or "data" in about or at + size > len(binary):
        raise Refused(400, f"binary_data_size of {name[:50]!r} is not the size of its bytes")
    raw = binary[at : at + size]
    if datatype == "BYTES":
        return Tensor(name, datatype, tuple(shape), _strings(raw, count)), at + size
    kind = DATATYPES[datatype]
    if count * kind.itemsize != size:
        raise Refused(400, f"{name[:50]!r} of shape {shape} takes {count * kind.itemsize} bytes, and {size} came")
    return Tensor(name, datatype, tuple(shape), np.frombuffer(raw, kind).reshape(shape)), at + size


def _whole(value: Any) -> int:
    """A whole number, also where JSON has it as 3.0; -1 for what is none."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else -1


def _from_lists(name: str, datatype: str, shape: Sequence[int], data: Any) -> "NDArray[Any] | list[bytes]":
    """JSON's data, flat or nested as the protocol allows; strings of BYTES are base64, since an image is no text."""
    flat = _flat(data)
    if len(flat) != math.prod(shape):
        raise Refused(400, f"{name[:50]!r} of shape {list(shape)[:8]} has {len(flat)} elements")
    if datatype == "BYTES":
        return [from_base64(each) for each in flat]
    kind = DATATYPES[datatype]
    allowed: tuple[type, ...] = {"b": (bool,), "f": (int, float)}.get(kind.kind, (int,))
    if not all(type(each) in allowed for each in flat):
        raise Refused(400, f"{name[:50]!r} holds what is no {datatype}")
    try:
        return np.array(flat, dtype=kind).reshape(shape)
    except (OverflowError, ValueError) as error:
        raise Refused(400, f"{name[:50]!r} holds what is no {datatype}") from error


def _flat(data: Any, depth: int = 0) -> list[Any]:
    if not isinstance(data, list) or depth > DEEPEST:
        raise Refused(400, "data is no list of elements")
    if not any(isinstance(each, list) for each in data):
        return data
    return [element for each in data for element in _flat(each, depth + 1)]


def _strings(raw: memoryview, count: int) -> list[bytes]:
    """BYTES in the binary extension: each element a length of four bytes, little-endian, and so many bytes."""
    found, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise Refused(400, "a BYTES tensor ends in the middle of a length")
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + length > len(raw):
            raise Refused(400, "a BYTES tensor ends in the middle of an element")
        found.append(bytes(raw[at : at + length]))
        at += length
        if len(found) > count:
            break
    if len(found) != count:
        raise Refused(400, f"a BYTES tensor of {count} elements holds another number")
    return found


def _wanted(about: Any, binary: bool) -> Wanted:
    if not isinstance(about, dict) or about.get("name") not in OUTPUTS:
        name = about.get("name") if isinstance(about, dict) else about
        raise Refused(400, f"there is no output {str(name)[:50]!r}", hint=f"there are {' and '.join(OUTPUTS)}")
    parameters = _parameters(about)
    count = parameters.get("classification", 0)
    if type(count) is not int or count < 0 or (count and about["name"] != OUTPUTS[0]):
        raise Refused(400, f"classification is no number of classes of {OUTPUTS[0]}")
    return Wanted(about["name"], parameters.get("binary_data", binary) is True, count)


def _parameters(about: Mapping[str, Any]) -> dict[str, Any]:
    parameters = about.get("parameters", {})
    if not isinstance(parameters, dict):
        raise Refused(400, "parameters is no object")
    return parameters


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise Refused(400, "timeout is no number of microseconds")
    return value / 1e6 if value else None  # Triton's clients send 0 for none


def answered(question: Question, model: str, version: str, tensors: Sequence[Tensor]) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON where binary tensors follow it."""
    named = {tensor.name: tensor for tensor in tensors}
    wanted = question.wanted or tuple(Wanted(tensor.name, question.binary) for tensor in tensors)
    outputs, tail = [], []
    for each in wanted:
        tensor = named[each.name]
        about: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if each.binary:
            raw = _raw(tensor)
            tail.append(raw)
            about["parameters"] = {"binary_data_size": len(raw)}
        elif isinstance(tensor.values, list):
            about["data"] = [value.decode("utf-8", "replace") for value in tensor.values]
        else:
            about["data"] = tensor.values.ravel().tolist()
        outputs.append(about)
    told = {"model_name": model, "model_version": version, **({"id": question.id} if question.id is not None else {})}
    text = json.dumps({**told, "outputs": outputs}, ensure_ascii=False).encode()
    binary = any(each.binary for each in wanted)
    return (text + b"".join(tail), len(text)) if binary else (text, None)


def _raw(tensor: Tensor) -> bytes:
    if isinstance(tensor.values, list):
        return b"".join(struct.pack("<I", len(value)) + value for value in tensor.values)
    return tensor.values.astype(DATATYPES[tensor.datatype]).tobytes()


def outputs(question: Question, probs_NK: NDArray[np.float32], labels_N: Sequence[str], classes: Sequence[str]) -> list[Tensor]:
    """What a model gives: probabilities, FP32 (N, K), and labels, BYTES (N); a label is empty where the model abstains.

    Of several labels an image they are joined by '|', as in our tables.
    """
    counts = {each.name: each.classification for each in question.wanted}
    n, k = probs_NK.shape
    if count := min(k, counts.get(OUTPUTS[0], 0)):
        order = np.argsort(-probs_NK, axis=1, kind="stable")[:, :count]
        told = [f"{probs_NK[row, at]:.6f}:{at}:{classes[at]}".encode() for row in range(n) for at in order[row]]
        first = Tensor(OUTPUTS[0], "BYTES", (n, count), told)
    else:
        first = Tensor(OUTPUTS[0], "FP32", (n, k), probs_NK)
    return [first, Tensor(OUTPUTS[1], "BYTES", (n,), [label.encode() for label in labels_N])]


def metadata(name: str, versions: Sequence[str], classes: int, runtime: str) -> dict[str, Any]:
    """A model's metadata: what goes in and what comes out."""
    return {
        "name": name,
        "versions": list(versions),
        "platform": f"onnx_{runtime}",
        "inputs": [{"name": IMAGES, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": OUTPUTS[0], "datatype": "FP32", "shape": [-1, classes]},
            {"name": OUTPUTS[1], "datatype": "BYTES", "shape": [-1]},
        ],
    }


def server(version: str) -> dict[str, Any]:
    return {"name": "sortal", "version": version, "extensions": ["binary_tensor_data", "classification"]}
