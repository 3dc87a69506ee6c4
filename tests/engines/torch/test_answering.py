"""A bundle's network in PyTorch answers as the bundle's graph does: probabilities whatever the calibration, and novelty."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from sortal.engines.graphs import deployed as with_answers
from sortal.engines.onnx import OnnxGraph
from sortal.engines.torch.answering import Answering
from sortal.engines.torch.export import to_onnx
from sortal.engines.torch.models import table
from sortal.engines.torch.network import Deployed, FromBytes, Network, make_head
from sortal.errors import NotSupported
from sortal.evaluation.calibrators import Calibrator
from sortal.evaluation.novelty import Memory
from sortal.preprocess import Preprocess
from sortal.recipe import Head

CALIBRATORS = [
    Calibrator("temperature", "softmax", scale_K=np.array(0.7)),
    Calibrator("vector", "softmax", scale_K=np.array([0.7, 1.1, 0.9]), bias_K=np.array([0.1, -0.2, 0.0])),
]


def network() -> Network:
    torch.manual_seed(0)
    preprocess = Preprocess(size=16, resize=16)
    body = table.create("lenet5", channels=3, image_size=16)
    return Network(body, make_head(Head(), body.dimensions, 3), preprocess).eval()


def graph_of(net: Network) -> bytes:
    return to_onnx(FromBytes(net), size=16, channels=3, outputs=["logits", "features"])


def memory(net: Network, neighbours: int = 3) -> Memory:
    features_BD = np.random.default_rng(0).normal(size=(20, net.body.dimensions)).astype(np.float32)
    return Memory(features_BD / np.linalg.norm(features_BD, axis=1, keepdims=True), neighbours)


@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda each: each.method)
@pytest.mark.parametrize("remembers", [False, True], ids=["plain", "novelty"])
def test_pytorch_answers_as_the_graph_does(tmp_path: Path, calibrator: Calibrator, remembers: bool) -> None:
    net = network()
    (tmp_path / "model.onnx").write_bytes(with_answers(graph_of(net), calibrator, memory(net) if remembers else None, {}))
    images = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    expected = OnnxGraph(tmp_path / "model.onnx").outputs(images)
    model = Answering(Deployed(net, calibrator), tmp_path / "model.onnx").eval()
    with torch.inference_mode():
        answer = model(torch.from_numpy(images))
    assert isinstance(answer, tuple) == remembers == ("novelty" in expected)
    found = [each.numpy() for each in answer] if remembers else [answer.numpy()]
    assert np.abs(found[0] - expected["probabilities"]).max() < 1e-5
    if remembers:
        assert found[1].shape == (5,)
        assert np.abs(found[1] - expected["novelty"]).max() < 1e-5


def test_novelty_by_steps_that_nobody_foresaw_is_refused_by_name(tmp_path: Path) -> None:
    net = network()
    model = onnx.load_from_string(with_answers(graph_of(net), CALIBRATORS[0], None, {}))
    model.graph.node.append(helper.make_node("GridSample", ["features", "features"], ["novelty"], name="sortal.odd"))
    model.graph.output.append(helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["N"]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(NotSupported, match="GridSample"):
        Answering(Deployed(net, CALIBRATORS[0]), tmp_path / "model.onnx")


def test_in_float16_what_stands_behind_the_network_stays_in_float32(tmp_path: Path) -> None:
    from sortal.exports.graphs import of_any_size
    from sortal.exports.onnx import _halved

    net = network()
    graph = with_answers(graph_of(net), CALIBRATORS[1], memory(net), {})
    halved = _halved(onnx.load_from_string(graph))
    onnx.checker.check_model(of_any_size(halved, Preprocess(size=16, resize=16)))
    kept = {each.name: each.data_type for each in halved.graph.initializer if each.name.startswith("sortal.")}
    assert kept["sortal.memory"] == TensorProto.FLOAT
    assert any(each.data_type == TensorProto.FLOAT16 for each in halved.graph.initializer)
    images = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    expected, found = OnnxGraph(graph).outputs(images), OnnxGraph(halved.SerializeToString()).outputs(images)
    assert np.abs(found["probabilities"] - expected["probabilities"]).max() < 0.01
    assert np.abs(found["novelty"] - expected["novelty"]).max() < 0.01
