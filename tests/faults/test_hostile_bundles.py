"""Bundles made to harm whoever serves them: each is refused within two seconds, and nothing that is in it runs.

Unlike `test_hostile_bundle.py`, whose bundles were changed after they were written, these have true checksums: whoever made
them knows the format. What is refused here is what they hold.
"""

import contextlib
import importlib
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sortal import bundle
from sortal.bundle import Bundle
from sortal.engines.onnx import predictor
from sortal.errors import BundleError, DataError
from sortal.serving.models import check
from tests.serving.served import CLASSES, SIDE, about, graph

TensorProto = pytest.importorskip("onnx", reason="graphs are made with onnx").TensorProto
helper, numpy_helper = (importlib.import_module(f"onnx.{name}") for name in ("helper", "numpy_helper"))

SECONDS = 2.0
MOST_MEMORY = 512 << 20
"""Bytes by which a refusal may raise the largest memory that the process ever had."""

Make = Callable[[Path], Any]


class Touches:
    """A pickle that writes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def model(
    nodes: list[Any] | None = None,
    *,
    weights: list[Any] | None = None,
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
    opsets: list[Any] | None = None,
    change: Callable[[Any], Any] = lambda made: None,
) -> bytes:
    """A graph like ours, of which something is another."""
    mean = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["logits"], axes=[1, 2], keepdims=0),
    ]
    softmax = [helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIDE, SIDE, 3])
    told = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])
    made = helper.make_model(
        helper.make_graph([*mean, *(nodes or []), *softmax], "g", inputs or [images], outputs or [told], weights or []),
        opset_imports=opsets or [helper.make_opsetid("", 17)],
        ir_version=8,
    )
    change(made)
    return made.SerializeToString()


def with_graph(data: bytes, **changes: Any) -> Make:
    return lambda path: bundle.write(path, graph=data, weights=b"", about=about(**changes))


def external(location: str, **more: str) -> bytes:
    """A weight that is said to lie in another file."""
    weight = numpy_helper.from_array(np.zeros(3, np.float32), "weight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    return model([helper.make_node("Add", ["logits", "weight"], ["more"])], weights=[weight])


def attribute_tensor(location: str) -> bytes:
    """A constant's tensor that is said to lie in another file."""
    node = helper.make_node("Constant", [], ["weight"], value=numpy_helper.from_array(np.zeros(3, np.float32)))
    tensor = node.attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return model([node])


def operator(name: str, *, domain: str = "", **attributes: Any) -> bytes:
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return model([helper.make_node(name, ["logits"], ["more"], domain=domain, **attributes)], opsets=opsets)


def inner(operator_name: str) -> bytes:
    """An operator with a graph inside."""
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    key = {"If": "then_branch"}.get(operator_name, "body")
    return model([helper.make_node(operator_name, ["logits"], ["more"], **{key: body})])


def sized(operator_name: str, sizes: list[int], position: int = 1) -> bytes:
    """An operator that is told by a constant to make something huge."""
    weights = [numpy_helper.from_array(np.array(sizes, np.int64), "sizes")]
    inputs = ["logits", "", "", ""][:position]
    inputs.append("sizes")
    return model([helper.make_node(operator_name, inputs, ["huge"])], weights=weights)


def function(made: Any) -> None:
    made.functions.append(helper.make_function("x", "f", ["a"], ["b"], [], [helper.make_opsetid("", 17)]))


def deep_constant() -> bytes:
    """Sizes that hide in a constant's attribute."""
    value = helper.make_tensor("v", TensorProto.INT64, [4], [2**20, 2**20, 1, 1])
    nodes = [helper.make_node("Constant", [], ["sizes"], value=value), helper.make_node("ConstantOfShape", ["sizes"], ["huge"])]
    return model(nodes)


def nested_messages(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        length, prefix = len(data), b""
        while True:
            prefix += bytes([(length & 127) | (128 if length > 127 else 0)])
            length >>= 7
            if not length:
                break
        data = b"\x3a" + prefix + data
    return data


def lying_weight() -> bytes:
    """A weight whose shape is said to be huge and whose bytes are few."""
    weight = numpy_helper.from_array(np.zeros(3, np.float32), "weight")
    weight.dims[:] = [2**40, 2**40]
    return model([helper.make_node("Add", ["logits", "weight"], ["more"])], weights=[weight])


def counted() -> bytes:
    """A range of 2^50 numbers."""
    weights = [numpy_helper.from_array(np.array(each, np.int64), name) for name, each in (("a", 0), ("b", 2**50), ("c", 1))]
    return model([helper.make_node("Range", ["a", "b", "c"], ["huge"])], weights=weights)


def computed(*nodes: Any, **constants: Any) -> bytes:
    """Operators on constants, of which the last makes something huge that the answer depends on."""
    behind = [
        helper.make_node("ReduceMean", ["huge"], ["mean"], keepdims=0),
        helper.make_node("Add", ["logits", "mean"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["told"], axis=1),
    ]
    weights = [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()]
    return model([*nodes, *behind], weights=weights, outputs=[value("told", TensorProto.FLOAT, ["N", 3])])


def by_scales() -> bytes:
    """A resize that is told by how much, and not how large."""
    scales = np.array([1, 1, 2**20, 2**20], np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["logits", "axes"], ["batch"]),
        helper.make_node("Resize", ["batch", "", "scales"], ["huge"], mode="nearest"),
    ]
    return computed(*nodes, axes=np.array([0, 1]), scales=scales)


def by_broadcast() -> bytes:
    """Two weights that are small alone, and whose sum is not."""
    sides = {"rows": np.zeros((2**20, 1), np.float32), "columns": np.zeros((1, 2**20), np.float32)}
    return computed(helper.make_node("Add", ["rows", "columns"], ["huge"]), **sides)


def by_image() -> bytes:
    """Nothing of a black image, and too much of a white one."""
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["lightest"], keepdims=0),
        helper.make_node("Cast", ["lightest"], ["light"], to=TensorProto.INT64),
        helper.make_node("Mul", ["light", "many"], ["sizes"]),
        helper.make_node("ConstantOfShape", ["sizes"], ["huge"]),
    ]
    return computed(*nodes, many=np.array([2**30]))


def negative_weight() -> bytes:
    """A weight with less than no elements."""

    def change(made: Any) -> None:
        made.graph.initializer[0].dims[0] = -5

    return model(weights=[helper.make_tensor("w", TensorProto.FLOAT, [0], [])], change=change)


def value(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def written(path: Path, name: str, data: bytes) -> Any:
    """A good bundle with one member replaced and listed with its true size and checksum."""
    import hashlib

    bundle.write(path, graph=graph(), weights=b"", about=about())
    (path / name).write_bytes(data)
    text = json.loads((path / "bundle.json").read_text())
    text["members"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / "bundle.json").write_text(json.dumps(text))


def changed(change: Callable[[dict[str, Any]], Any]) -> Make:
    def make(path: Path) -> None:
        bundle.write(path, graph=graph(), weights=b"", about=about())
        text = json.loads((path / "bundle.json").read_text())
        change(text)
        (path / "bundle.json").write_text(json.dumps(text))

    return make


def beside(name: str, data: bytes = b"import os; os.mkdir('hacked')") -> Make:
    def make(path: Path) -> None:
        bundle.write(path, graph=graph(), weights=b"", about=about())
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)

    return make


def replaced(name: str, make_it: Callable[[Path], Any]) -> Make:
    def make(path: Path) -> None:
        bundle.write(path, graph=graph(), weights=b"", about=about())
        (path / name).unlink()
        make_it(path / name)

    return make


PICKLE = pickle.dumps(Touches(Path("hacked")))
MANY = [helper.make_node("Identity", ["logits"], [f"x{number}"]) for number in range(3)]

HOSTILE: dict[str, Make] = {
    # Graphs that are none.
    "graph: empty": with_graph(b""),
    "graph: zeros": with_graph(bytes(1000)),
    "graph: random bytes": with_graph(np.random.default_rng(0).bytes(100_000)),
    "graph: a pickle": with_graph(PICKLE),
    "graph: a shared library": with_graph(b"\x7fELF\x02\x01\x01" + bytes(500)),
    "graph: a script": with_graph(b"#!/bin/sh\nmkdir hacked\n"),
    "graph: a zip": with_graph(b"PK\x03\x04" + bytes(100)),
    "graph: half of one": with_graph(graph()[: len(graph()) // 2]),
    "graph: two of them": with_graph(graph() + graph()),
    "graph: a length beyond the end": with_graph(b"\x3a\xff\xff\xff\xff\x7f"),
    "graph: a number of 70 bits": with_graph(b"\x08" + b"\xff" * 11),
    "graph: 20,000 messages in each other": with_graph(nested_messages(20_000)),
    "graph: groups": with_graph(b"\x3b" * 1000),
    "graph: field zero": with_graph(b"\x02\x00" * 1000),
    "graph: no graph in it": with_graph(b"\x08\x08"),
    # Graphs that reach out.
    "external: /etc/passwd": with_graph(external("/etc/passwd", length="12")),
    "external: ../../../etc/passwd": with_graph(external("../../../../../../etc/passwd")),
    "external: /dev/zero": with_graph(external("/dev/zero", length=str(1 << 40))),
    "external: the bundle itself": with_graph(external("weights.safetensors")),
    "external: an offset": with_graph(external("weights.safetensors", offset=str(-1))),
    "external: in a constant": with_graph(attribute_tensor("/etc/passwd")),
    # Graphs that bring code, or choose what runs.
    "operator: Python": with_graph(operator("PyOp", domain="ai.onnx.contrib")),
    "operator: of an unknown library": with_graph(operator("Evil", domain="com.evil")),
    "operator: of Microsoft's": with_graph(operator("FusedConv", domain="com.microsoft")),
    "operator: ATen": with_graph(operator("ATen", domain="org.pytorch.aten", operator="system")),
    "operator: nchwc": with_graph(operator("Conv", domain="com.microsoft.nchwc")),
    "operator: training": with_graph(operator("Adam", domain="ai.onnx.preview.training")),
    "operator: unknown": with_graph(operator("Mystery")),
    "operator: reads images": with_graph(operator("ImageDecoder")),
    "operator: text": with_graph(operator("StringNormalizer")),
    "operator: regular expression": with_graph(operator("RegexFullMatch", pattern="(a+)+$")),
    "operator: chance": with_graph(operator("RandomNormalLike")),
    "operator: chance, to choose": with_graph(operator("Multinomial", sample_size=1)),
    "operator: loop": with_graph(inner("Loop")),
    "operator: scan": with_graph(inner("Scan")),
    "operator: if": with_graph(inner("If")),
    "operator: a sequence's": with_graph(inner("SequenceMap")),
    "operator: a graph where none belongs": with_graph(
        model([helper.make_node("Relu", ["logits"], ["x"], body=helper.make_graph([], "b", [], []))])
    ),
    "function: of its own": with_graph(model(change=function)),
    # Graphs that take more than there is.
    "size: 2^40 numbers": with_graph(sized("ConstantOfShape", [2**20, 2**20], 0)),
    "size: 2^62 numbers": with_graph(sized("ConstantOfShape", [2**62], 0)),
    "size: numbers that overflow": with_graph(sized("ConstantOfShape", [2**32, 2**32], 0)),
    "size: in a constant": with_graph(deep_constant()),
    "size: expanded": with_graph(sized("Expand", [2**30, 3])),
    "size: tiled": with_graph(sized("Tile", [2**30, 1])),
    "size: padded": with_graph(sized("Pad", [0, 0, 2**40, 0])),
    "size: resized": with_graph(sized("Resize", [1, 2**20, 2**20], 3)),
    "size: counted": with_graph(counted()),
    "size: behind another name": with_graph(
        computed(
            helper.make_node("Identity", ["sizes"], ["same"]),
            helper.make_node("ConstantOfShape", ["same"], ["huge"]),
            sizes=np.array([2**20, 2**20]),
        )
    ),
    "size: by scales": with_graph(by_scales()),
    "size: by broadcast": with_graph(by_broadcast()),
    "size: by margins of a convolution": with_graph(
        computed(
            helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "kernel"], ["huge"], pads=[2**18] * 4),
            kernel=np.zeros((1, 3, 1, 1), np.float32),
        )
    ),
    "size: by what an image shows": with_graph(by_image()),
    "size: a weight that lies": with_graph(lying_weight()),
    "size: a weight less than nothing": with_graph(negative_weight()),
    "size: 30,000 operators": with_graph(
        model([helper.make_node("Identity", ["logits"], [f"x{number}"]) for number in range(30_000)])
    ),
    "a loop of operators": with_graph(
        model([helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])])
    ),
    "sparse weights": with_graph(model(change=lambda m: m.graph.sparse_initializer.add())),
    # Graphs that are not what the bundle says.
    "ends: no input": with_graph(model(inputs=[value("x", TensorProto.FLOAT, [1])])),
    "ends: two inputs": with_graph(
        model(inputs=[value("images", TensorProto.UINT8, ["N", SIDE, SIDE, 3]), value("x", TensorProto.FLOAT, [1])])
    ),
    "ends: text as input": with_graph(model(inputs=[value("images", TensorProto.STRING, ["N", SIDE, SIDE, 3])])),
    "ends: images of another size": with_graph(model(inputs=[value("images", TensorProto.UINT8, ["N", 9, 9, 3])])),
    "ends: a million images at once": with_graph(model(inputs=[value("images", TensorProto.UINT8, [10**6, SIDE, SIDE, 3])])),
    "ends: text as output": with_graph(model(outputs=[value("probabilities", TensorProto.STRING, ["N", 3])])),
    "ends: five outputs": with_graph(
        model(MANY, outputs=[value(name, TensorProto.FLOAT, ["N", 3]) for name in ("probabilities", "x0", "x1", "x2")])
    ),
    "ends: fewer classes than names": with_graph(graph(classes=2)),
    "ends: more classes than names": with_graph(graph(), classes=["one", "two"]),
    "ends: no probabilities": with_graph(model([helper.make_node("Identity", ["logits"], ["probabilities"])])),
    "ends: NaN": with_graph(
        model(
            [helper.make_node("Mul", ["logits", "nan"], ["n"]), helper.make_node("Softmax", ["n"], ["p2"])],
            weights=[numpy_helper.from_array(np.array(np.nan, np.float32), "nan")],
            outputs=[value("p2", TensorProto.FLOAT, ["N", 3])],
        )
    ),
    "ends: a novelty that nobody announced": with_graph(
        model(
            [helper.make_node("ReduceMean", ["logits"], ["novelty"], axes=[1], keepdims=0)],
            outputs=[value("probabilities", TensorProto.FLOAT, ["N", 3]), value("novelty", TensorProto.FLOAT, ["N"])],
        )
    ),
    # What lies beside them.
    "beside: code": beside("sitecustomize.py"),
    "beside: a library": beside("libevil.so", b"\x7fELF"),
    "beside: a pickle": beside("model.pkl", PICKLE),
    "beside: a folder": beside("__pycache__/model.pyc"),
    "member: a link to /etc/passwd": replaced("model.onnx", lambda path: path.symlink_to("/etc/passwd")),
    "member: a link to itself": replaced("model.onnx", lambda path: path.symlink_to(path)),
    "member: a pipe": replaced("weights.safetensors", os.mkfifo),
    "member: a folder": replaced("weights.safetensors", os.mkdir),
    "member: /dev/zero": replaced("model.onnx", lambda path: path.symlink_to("/dev/zero")),
    "about: a link to /dev/zero": replaced("bundle.json", lambda path: path.symlink_to("/dev/zero")),
    "about: a pipe": replaced("bundle.json", os.mkfifo),
    "about: a list 200,000 deep": replaced("bundle.json", lambda path: path.write_text("[" * 200_000)),
    "about: a gigabyte of nothing": replaced("bundle.json", lambda path: (path.touch(), os.truncate(path, 1 << 30))),
    "about: a pickle": replaced("bundle.json", lambda path: path.write_bytes(PICKLE)),
    "about: members elsewhere": changed(lambda text: text["members"].update({"../../etc/passwd": {"bytes": 1, "sha256": ""}})),
    "about: a size beyond all": changed(lambda text: text["members"]["model.onnx"].update(bytes=10**400)),
    "about: pictures of 10^9": changed(lambda text: text["preprocess"].update(size=10**9, resize=10**9)),
    "about: a limit of no pixels": changed(lambda text: text["preprocess"].update(max_pixels=-1)),
    "about: a class that is no name": changed(lambda text: text.update(classes=[{"__class__": "os.system"}, "a", "b"])),
    "about: a temperature that is no number": changed(lambda text: text.update(temperature="__import__('os')")),
    "about: a decision that is none": changed(lambda text: text.update(decision={"threshold": "eval"})),
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is executed: no folder `hacked` comes to be where this process stands."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert list((tmp_path / "here").iterdir()) == []


def test_there_are_sixty_or_more() -> None:
    assert len(HOSTILE) >= 60


def test_the_good_one_passes(tmp_path: Path) -> None:
    for data in (graph(), model()):
        shutil.rmtree(tmp_path / "bundle", ignore_errors=True)
        bundle.write(tmp_path / "bundle", graph=data, weights=b"", about=about())
        assert check(tmp_path / "bundle", runtime="onnxruntime").bundle.classes == CLASSES


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_within_two_seconds(name: str, tmp_path: Path) -> None:
    HOSTILE[name](tmp_path / "bundle")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with pytest.raises((BundleError, DataError)) as caught:
        check(tmp_path / "bundle", runtime="onnxruntime")
    assert time.monotonic() - began < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024 < MOST_MEMORY
    assert caught.value.hint
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.startswith("size:")])
@pytest.mark.parametrize("runtime", ["openvino", "predict"])
def test_what_takes_too_much_is_refused_by_every_runtime(name: str, runtime: str, tmp_path: Path) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")

    def answered() -> None:
        if runtime == "predict":
            predictor(Bundle.load(tmp_path / "bundle"))(np.zeros((2, SIDE, SIDE, 3), np.uint8))
        else:
            check(tmp_path / "bundle", runtime=runtime)

    HOSTILE[name](tmp_path / "bundle")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleError):
        answered()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024 < MOST_MEMORY


def test_more_than_was_free_is_refused_though_the_system_would_give_it(tmp_path: Path) -> None:
    """In a process of its own, since the limit is set once: a graph that makes 2 GB where half a GB was free."""
    nodes = [
        helper.make_node("Identity", ["sizes"], ["same"]),
        helper.make_node("ConstantOfShape", ["same"], ["huge"]),
    ]
    bundle.write(tmp_path / "bundle", graph=computed(*nodes, sizes=np.array([2**14, 2**15])), weights=b"", about=about())
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "import sortal.engines.onnx as engine\n"
        "from sortal.errors import BundleError\n"
        "from sortal.serving.models import check\n"
        "engine.free_memory = lambda: 1 << 29\n"
        "try:\n"
        "    check(Path(sys.argv[1]), runtime='onnxruntime')\n"
        "except BundleError:\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "bundle")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert int(done.stdout) < (1 << 30) // 1024


def test_predict_refuses_what_serve_refuses(tmp_path: Path) -> None:
    from sortal.workflows import load

    for name in ("external: /etc/passwd", "operator: Python", "operator: loop", "size: 2^40 numbers"):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(tmp_path / "bundle")
        HOSTILE[name](tmp_path / "bundle")
        with pytest.raises(BundleError):
            load(tmp_path / "bundle")
